from tests.support.species import model, others, photos  # noqa: F401 (fixtures)
