from tests.support.small import model, model_dir, photos  # noqa: F401 (fixtures)
