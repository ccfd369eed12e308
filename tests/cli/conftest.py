from tests.support.species import folder, model, others, photos  # noqa: F401 (fixtures)
