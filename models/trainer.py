"""The final training: `run_fn` of the Trainer.

It builds the derived network, trains it on train and val by the recipe of the config, and exports it for serving. With
`config.train.hold_out_val` it trains the network on train alone and measures its accuracy on val. An interrupted
training goes on where it was, in the middle of an epoch too. The network starts with fresh weights, or with those of
the search's supernet; it learns from the labels, or from a teacher too.
"""

import os
import time

from models import export
from models.architectures.genotype import genotype_from_dict
from models.data import dataset
from models.data.examples import SPLITS
from models.data.image_format import ImageFormat
from models.networks import inheritance, profiling
from models.planning.plan import apply
from models.runtime import artifact_files, checkpoint, progress, setup
from models.runtime.section import TRAINING
from models.settings import ConfigError, Settings
from models.training.classifier import Classifier, build_network, compile_classifier
from models.training.distillation import Distillation, SoftLabels
from models.training.loop import passes, train


def run_fn(fn_args) -> None:
    """Trains and exports; called by the Trainer's executor.

    Args:
        fn_args: TFX's FnArgs. `hyperparameters` is {"genotype": ...} as the ArchitectureDeriver writes it, or what the
            TrainingPlanner makes of it; `custom_config` holds the config's sections `train`, `data`, `space` and
            `serving`, and `seed`, `deterministic`, `tuned_kernels` and `checkpoint_dir`; with a teacher, the folder
            `soft_labels`, and with inherited weights, the folder `supernet`.

    Raises:
        GenotypeError: The genotype is not valid.
        ConfigError: A setting needs a folder that is not there.
        ArtifactError: The soft labels belong to other images.
        ValueError: The data or the settings do not fit the network.
    """
    watch = time.monotonic()
    custom = dict(fn_args.custom_config)
    checkpoints = custom.pop("checkpoint_dir")
    soft_labels, supernet = (custom.pop(name, None) for name in ("soft_labels", "supernet"))
    # A plan chose some settings anew (docs/budget.md).
    settings = apply(fn_args.hyperparameters.get("settings", {}), Settings.parse(custom))
    recipe = settings.train
    setup.set_up(
        seed=settings.seed,
        deterministic=settings.deterministic,
        tuned_kernels=settings.tuned_kernels,
        mixed_precision=recipe.mixed_precision,
    )
    architecture = genotype_from_dict(fn_args.hyperparameters["genotype"])
    files = dict(zip(SPLITS, fn_args.train_files, strict=False))  # train, val: as the Trainer lists its splits
    data = dataset.load_examples([files[split] for split in recipe.splits], settings.data)
    depends = []  # what the result depends on, if it is used
    if recipe.teacher:
        taught = SoftLabels.load(_required(soft_labels, "teacher", "no teacher"))
        data = taught.of(data)
        depends.append(taught.fingerprint)
    strategy = setup.strategy()
    with strategy.scope():
        network = build_network(settings, architecture, data.image_shape, len(data.class_names))
        if recipe.from_supernet:
            uri = _required(supernet, "from_supernet", "no search that trains a supernet")
            taken, total = inheritance.take(network, artifact_files.INHERITED.load(uri))
            progress.say(f"train: {taken:,} of {total:,} weights are those of the search's supernet")
            depends.append(artifact_files.INHERITED.fingerprint(uri))
        classifier = Classifier(network, recipe.auxiliary_weight, Distillation.of(recipe))
        compile_classifier(classifier, recipe)
    key = checkpoint.fingerprint(architecture.to_dict(), settings.key(TRAINING), data.fingerprint, *depends)
    directory = os.path.join(checkpoints, key)
    with progress.followed_by(fn_args.hyperparameters.get("seconds_after")):
        began = time.monotonic()
        trained = train(classifier, data, recipe, settings.seed, strategy, directory, fn_args.model_run_dir)
        ended = time.monotonic()

    export.export_model(
        network,
        fn_args.serving_model_dir,
        image_format=ImageFormat.from_settings(data.image_shape, settings.data),
        class_names=data.class_names,
        mean=data.mean,
        std=data.std,
        top_k=settings.serving.top_k,
    )
    val_accuracy = None
    if recipe.hold_out_val:
        val = dataset.load_examples(files["val"], settings.data)
        batches = dataset.batches(val, recipe.batch_size, one_hot=True)
        val_accuracy = classifier.evaluate(batches, verbose=0, return_dict=True)["accuracy"]
    profile = profiling.profile(network)
    artifact_files.TRAINING.save(
        fn_args.model_run_dir,
        {
            "genotype": architecture.to_dict(),
            "settings": settings.model_dump(mode="json", include=set(custom)),
            "params": profile.params,
            "macs": profile.macs,
            "epochs": passes(recipe, len(data)),
            "seconds": trained.seconds,
            "other_seconds": time.monotonic() - ended + began - watch,
            "history": trained.history,
            "val_accuracy": val_accuracy,
        },
    )


def _required(folder: str | None, setting: str, lacks: str) -> str:
    """Returns an input that a setting needs; a compiled pipeline can get the setting without the input."""
    if folder is None:
        raise ConfigError(
            f"config.train.{setting}: found True; expected False: this pipeline was made with {lacks}. Compile it "
            f"again with config.train.{setting}."
        )
    return folder
