"""Train a model of species, evaluate it, register it, and embed a collection with it.

    python train_flow.py run --train birds/train --valid birds/valid --epochs 8 --image-size 128
    python train_flow.py run --train ... --collection photographs --max-workers 2
    python train_flow.py --environment ... run --with kubernetes:image=... ...

Steps:

- `start` checks the data.
- `train` trains the model. A retry continues from the last checkpoint, also within an epoch.
- `evaluate` measures the model on photos that it was not trained on.
- `register` adds it to MLflow's registry, if the accuracy reaches the threshold.
- `shard` and `embed` embed the photos of --collection, one task per shard.
- `table` joins the shards into one LanceDB table.

Steps exchange data through Metaflow's datastore and the folders in the parameters. On many
machines, mount these folders at the same place on each.

Needs: pip install 'birdembed[metaflow,mlflow,lancedb,plot]'
"""

import contextlib
import os
import time

from metaflow import FlowSpec, Parameter, card, checkpoint, current, resources, retry, step


def image_size(text):
    """Return a size, or pairs of epochs and size: 160, or 10x128,3x192."""
    if text is None:
        return None
    if "x" not in text:
        return int(text)
    return [tuple(int(number) for number in part.split("x")) for part in text.split(",")]


@contextlib.contextmanager
def mlflow_run(flow):
    """Yield an MLflow client for the run of this flow; an error marks the run as failed."""
    import mlflow

    mlflow.set_tracking_uri(flow.mlflow_uri)
    client = mlflow.MlflowClient()
    client.update_run(flow.mlflow_run_id, status="RUNNING")
    try:
        yield client
    except BaseException:
        client.set_terminated(flow.mlflow_run_id, "FAILED")
        raise


class TrainFlow(FlowSpec):
    """Train, evaluate and register a model, and embed a collection."""

    train_dir = Parameter("train", required=True, help="folder with one subfolder per species")
    valid_dir = Parameter(
        "valid", default=None, help="other photos of the same species (default: a fifth of --train)"
    )
    start_from = Parameter(
        "model", default=None, help="model to start from (default: that of load_model())"
    )
    epochs = Parameter("epochs", default=8, type=int, help="number of epochs to train")
    batch_size = Parameter("batch-size", default=32, type=int, help="images per step")
    lr = Parameter("lr", default=None, type=float, help="learning rate (default: by run length)")
    accuracy_threshold = Parameter(
        "accuracy-threshold", default=0.8, type=float, help="minimum accuracy to register the model"
    )
    checkpoint_every = Parameter(
        "checkpoint-every",
        default=None,
        type=int,
        help="steps between checkpoints (default: an epoch)",
    )
    image_sizes = Parameter(
        "image-size",
        default=None,
        help="input size in training: 160, or 10x128,3x192 (default: the model's)",
    )
    eval_size = Parameter(
        "eval-size",
        default=None,
        type=int,
        help="input size for validation and inference (default: the model's)",
    )
    seed = Parameter("seed", default=0, type=int, help="seed of the random numbers")
    collection = Parameter("collection", default=None, help="folder of photos to embed")
    shard_size = Parameter(
        "shard-size",
        default=1000,
        type=int,
        help="photos per task; more if there would be too many tasks",
    )
    lancedb_uri = Parameter(
        "lancedb", default=None, help="LanceDB database (default: COLLECTION.lancedb)"
    )
    table_name = Parameter("table", default="birds", help="name of the LanceDB table")
    tracking_uri = Parameter(
        "tracking-uri", default=None, help="MLflow server (default: MLFLOW_TRACKING_URI, or local)"
    )
    experiment = Parameter("experiment", default="birdembed", help="MLflow experiment")
    registered_model = Parameter(
        "registered-model", default="birdembed", help="name of the model in MLflow's registry"
    )
    alias = Parameter("alias", default="champion", help="alias of an accepted model")

    @step
    def start(self):
        """Check the data before any slow step."""
        import mlflow

        import birdembed as be

        train = be.ImageFolder(os.path.abspath(self.train_dir))
        if self.valid_dir is None:
            train, valid = train.split(0.2, seed=self.seed)
        else:
            valid = be.ImageFolder(os.path.abspath(self.valid_dir))
        unknown = sorted(set(valid.class_names) - set(train.class_names))
        if unknown:
            raise ValueError(f"--valid has the species {unknown[0]!r}, which --train lacks")
        self.unreadable = []
        for data in (train, valid):
            self.unreadable += be.verify(data).failures
        for failure in self.unreadable:
            print(f"skipped, cannot be read: {failure.name}: {failure.reason}")
        copies = be.find_duplicates(valid, train)
        for copy in copies:
            print(f"is also in the training photos: {copy.path}: {copy.other}")
        self.copies = len({copy.path for copy in copies})
        self.train_data, self.valid_data = train, valid
        print(f"train: {train}\nvalid: {valid}")
        self.collection_dir = self.collection and os.path.abspath(self.collection)
        if self.collection_dir and not os.path.isdir(self.collection_dir):
            raise NotADirectoryError(f"--collection is not a folder: {self.collection_dir}")
        if self.collection_dir:
            import birdembed.integrations.lancedb  # noqa: F401  fail now if it is missing

        if self.tracking_uri:
            mlflow.set_tracking_uri(self.tracking_uri)
        # Stored, because later tasks may run on other machines.
        self.mlflow_uri = mlflow.get_tracking_uri()
        found = mlflow.set_experiment(self.experiment)
        tags = {"metaflow.flow": current.flow_name, "metaflow.run": current.run_id}
        run = mlflow.MlflowClient().create_run(
            found.experiment_id, run_name=f"{current.flow_name}/{current.run_id}", tags=tags
        )
        self.mlflow_run_id = run.info.run_id
        self.next(self.train)

    @retry(times=3, minutes_between_retries=0)
    @resources(cpu=8, memory=16000)
    @checkpoint(show_card=False)
    @card(type="blank", id="training", refresh_interval=5)
    @step
    def train(self):
        """Fine-tune, from the last checkpoint of an earlier attempt if there is one."""
        import birdembed as be
        from birdembed.integrations.metaflow import MetaflowCallback
        from birdembed.integrations.mlflow import MlflowCallback

        model = be.load_model(*([self.start_from] if self.start_from else []))
        with mlflow_run(self):
            self.history = be.fine_tune(
                model,
                self.train_data,
                self.valid_data,
                self.epochs,
                resume=True,
                batch_size=self.batch_size,
                lr=self.lr,
                image_size=image_size(self.image_sizes),
                eval_size=self.eval_size,
                seed=self.seed,
                on_error="skip",
                checkpoint_dir=current.checkpoint.directory,
                checkpoint_every=self.checkpoint_every,
                show_progress_bar=True,
                callbacks=[
                    MetaflowCallback("training"),
                    # Metaflow stores the checkpoints; the model is logged if it is accepted.
                    MlflowCallback(run_id=self.mlflow_run_id, checkpoints=False, log_model=False),
                ],
            )
        self.model = model
        self.next(self.evaluate)

    @retry(times=2, minutes_between_retries=0)
    @resources(cpu=8, memory=8000)
    @card(type="blank", id="evaluation")
    @step
    def evaluate(self):
        """Measure the model on `valid`, and set its threshold for unknown species."""
        from metaflow.cards import Markdown, Table
        from mlflow.entities import Metric

        import birdembed as be
        from birdembed.integrations.metaflow import figure_image

        model = self.model
        index = be.Index.build(model, self.train_data)
        fit = model.fit_gallery(index, valid=self.valid_data)
        evaluation = be.evaluate(model, self.valid_data, reference=index)
        self.model, self.evaluation = model, evaluation
        self.scores = evaluation.to_dict(scalars=True)
        self.scores |= {
            f"gallery.{name}": value
            for name, value in fit.to_dict().items()
            if isinstance(value, (int, float))
        }
        with mlflow_run(self) as client:
            now = int(time.time() * 1000)
            metrics = [
                Metric(f"evaluation/{name}", float(value), now, 0)
                for name, value in self.scores.items()
            ]
            client.log_batch(self.mlflow_run_id, metrics=metrics)
        accepted = evaluation.accuracy >= self.accuracy_threshold
        self.verdict = "accepted" if accepted else "rejected"
        text = f"accuracy {evaluation.accuracy:.3f}, threshold {self.accuracy_threshold:.3f}: "
        print(text + ("the model is registered" if accepted else "nothing is registered"))
        rows = [[name, f"{value:.4g}"] for name, value in self.scores.items()]
        current.card["evaluation"].extend(
            [
                Markdown(f"# {self.verdict.capitalize()}\n\n{text}{self.verdict}."),
                Table(rows, headers=["score", "value"]),
                figure_image(evaluation.plot_confusion, "Confusion matrix"),
                figure_image(lambda: be.plot_per_class(evaluation), "Species, the worst first"),
            ]
        )
        self.next({"accepted": self.register, "rejected": self.end}, condition="verdict")

    @step
    def register(self):
        """Add the model to MLflow's registry."""
        from birdembed.integrations.mlflow import log_model

        with mlflow_run(self):
            info = log_model(
                self.model,
                run_id=self.mlflow_run_id,
                registered_model_name=self.registered_model,
                alias=self.alias,
            )
        self.model_uri = f"models:/{self.registered_model}/{info.registered_model_version}"
        print(f"registered {self.model_uri}, {self.registered_model}@{self.alias}")
        self.embeds = "yes" if self.collection_dir else "no"
        self.next({"yes": self.shard, "no": self.end}, condition="embeds")

    @step
    def shard(self):
        """Split the collection into shards."""
        from birdembed.integrations.metaflow import shard_files

        # Metaflow allows 100 tasks unless --max-num-splits is given.
        self.shards = shard_files(self.collection_dir, self.shard_size, most=100)
        print(f"{sum(map(len, self.shards))} photos in {len(self.shards)} shards")
        self.next(self.embed, foreach="shards")

    @retry(times=3, minutes_between_retries=0)
    @resources(cpu=4, memory=4000)
    @step
    def embed(self):
        """Embed one shard."""
        import birdembed as be

        names = self.input
        rows = be.Index.build(
            self.model,
            [os.path.join(self.collection_dir, name) for name in names],
            ids=names,
            labels=[name.split("/")[0] if "/" in name else None for name in names],
            on_error="skip",
        )
        self.failures = [(names[place], reason) for place, _, reason in rows.report.failures]
        rows.model = None  # the model is not stored with every shard
        self.rows = rows
        self.next(self.table)

    @retry(times=2, minutes_between_retries=0)
    @step
    def table(self, inputs):
        """Join the shards into one LanceDB table."""
        self.merge_artifacts(inputs, exclude=["rows", "failures"])
        self.table_uri = self.lancedb_uri or f"{self.collection_dir}.lancedb"
        self.table_rows, self.unembedded = 0, []
        for part in inputs:
            self.unembedded += part.failures
            if len(part.rows):
                mode = "merge" if self.table_rows else "overwrite"
                part.rows.to_lancedb(self.table_uri, self.table_name, mode=mode)
                self.table_rows += len(part.rows)
            del part.rows  # one shard in memory at a time
        for name, reason in self.unembedded:
            print(f"skipped, cannot be read: {name}: {reason}")
        print(f"{self.table_rows} rows in the table {self.table_name!r} of {self.table_uri}")
        self.next(self.end)

    @step
    def end(self):
        """Close the run."""
        with mlflow_run(self) as client:
            client.set_tag(self.mlflow_run_id, "verdict", self.verdict)
            client.set_terminated(self.mlflow_run_id, "FINISHED")
        print(f"{self.verdict}: accuracy {self.evaluation.accuracy:.3f}")
        if self.verdict == "rejected":
            print("below the threshold: nothing was registered")


if __name__ == "__main__":
    TrainFlow()
