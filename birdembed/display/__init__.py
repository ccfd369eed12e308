"""Figures and notebook HTML for arrays and images."""
