"""Figures and notebook HTML, made from arrays and images."""
