"""Every setting of the pipeline with its default and, where the paper gives a figure, its source.

The other configs of this folder start from this one and change what differs. Paper: "Multinomial
Distribution Learning for Effective Neural Architecture Search", arXiv 1905.07529; "later code" is
what its authors published afterwards.
"""

import ml_collections
from ml_collections import config_dict

from models.oracle.rules.registry import RULES


def get_config() -> ml_collections.ConfigDict:
    """Returns the settings shared by all configs, with the paper's figures where it gives any."""
    config = ml_collections.ConfigDict()
    config.name = "mdenas"  # pipeline name; part of the lineage in ML Metadata
    config.seed = 0  # of everything random: split, weights, data order, augmentation, sampling
    config.deterministic = True  # TensorFlow's op determinism: same config, same bits
    # "" searches; a preset's name (models/architectures/presets.py) or a genotype's JSON file skips the search.
    config.architecture = ""
    config.tuned_kernels = True  # False: plain Keras operations everywhere (models/networks/kernels.py)

    config.data = data = ml_collections.ConfigDict()
    data.name = "digits"  # a TFDS data set; "digits" comes with this project
    data.version = ""  # "" takes the newest
    data.data_dir = ""  # TFDS's directory; "" is TFDS's default
    data.download = False  # whether TFDS may download the data set
    data.image_folder = ""  # DIR/<class>/* or DIR/train/<class>/* and so on (docs/data.md); replaces data.name
    data.test_split = ""  # TFDS split to test on; "": test, or validation where test has no labels or is not there
    data.image_feature = ""  # TFDS feature that holds the image; "": the one called image, or the only one
    data.label_feature = ""  # TFDS feature that holds the class; "": the one called label, or the only one
    data.test_fraction = 0.2  # of each class of a folder that has no test images of its own
    data.val_fraction = 0.5  # of each class's training images, to validate sampled networks (later code: half)
    data.image_size = 0  # images are resized to this many pixels square; 0: all have one size already
    data.resize = "crop"  # crop | pad | squash: what becomes of images that are not square
    data.background = "white"  # colour behind transparent pixels and in padding; a name or #rrggbb
    data.channels = 0  # 1 or 3 converts all images to grey or colours; 0: as they are
    data.store = "resized"  # resized | original: what the examples hold of an image that is resized
    data.cache_mb = 2048  # decoded images are kept in memory up to this size, else decoded every epoch
    data.max_corrupt_share = 0.0  # share of undecodable images that is skipped instead of refused

    config.space = space = ml_collections.ConfigDict()
    space.name = "cell"  # a module of models/search_spaces, or a dotted path to one of your own
    # Operations an edge chooses from; () takes the space's own (cell: the paper's eight).
    space.operations = ()

    config.search = search = ml_collections.ConfigDict()
    search.epochs = 100  # paper; one sampled architecture is trained per epoch
    search.batch_size = 512  # paper
    search.cells = 6  # paper (later code: 8)
    search.channels = 16  # paper
    search.learning_rate = 0.025  # paper; annealed by a cosine
    search.min_learning_rate = 0.0  # paper (later code: 0.001)
    search.momentum = 0.9  # paper
    search.weight_decay = 3e-4  # paper
    search.gradient_clip = 5.0  # global norm; later code
    search.pad = 4  # random crop after padding by so many pixels
    search.flip = True  # random horizontal flip
    search.cutout = 0  # side of the square erased at random; 0: none
    search.norm_images = 2048  # training images that give a path its batch norm statistics before it is validated
    search.mixed_precision = ""  # "" | "bfloat16" | "float16"; of use on a GPU
    search.xla = False  # compiles the steps; on a GPU only
    search.traced_architectures = 8  # compiled steps kept for architectures seen before
    search.checkpoint_every = 1  # epochs
    search.max_invalid = 5  # trials in a row with a loss that is not finite before the search stops

    config.oracle = oracle = ml_collections.ConfigDict()
    oracle.rule = "paper"  # see docs/oracle.md
    # Rounds that sample every operation equally often, first; None: as many as the rule asks for (paper: 0).
    oracle.warmup_rounds = config_dict.placeholder(int)
    # Each rule's options under its name; the paper's: alpha 0.01 (paper), projection and accuracy (docs/oracle.md).
    for name, rule in RULES.items():
        oracle[name] = config_dict.ConfigDict(rule().options())
    oracle.interactions.trend = True  # accuracies on shared weights move with the training

    config.derive = derive = ml_collections.ConfigDict()
    derive.source = "argmax"  # argmax (paper) | best (best evaluated) | verify (re-evaluate both)
    derive.samples = 4  # verify: so many samples of the final distribution stand for election too

    config.train = train = ml_collections.ConfigDict()
    train.network = "cifar"  # cifar | imagenet | mobile: stem, auxiliary head, batch norm's epsilon
    train.epochs = 600  # released run script
    train.batch_size = 96  # released run script
    train.cells = 20  # released run script
    train.channels = 36  # released run script
    train.momentum = 0.9  # released run script
    train.learning_rate = 0.025  # released run script
    train.schedule = "cosine"  # cosine to 0 (CIFAR-10) | exponential (ImageNet)
    train.decay_rate = 0.97  # exponential: learning rate's factor per epoch
    train.warmup_epochs = 0  # linear warm-up of the learning rate
    train.weight_decay = 3e-4  # released run script
    train.decay_batch_norm = False  # True decays batch norm's scale and offset too, as DARTS does
    train.gradient_clip = 5.0  # global norm; released run script; 0: none
    train.label_smoothing = 0.0  # ImageNet: 0.1
    train.pad = 4
    train.flip = True
    train.cutout = 16  # released run script
    train.drop_path = 0.3  # probability at the last epoch, raised linearly from 0; released run script
    train.auxiliary_weight = 0.4  # weight of the auxiliary head's loss; released run script; 0: no head
    train.dropout = 0.2  # before the classifier; released run script
    train.ema = 0.0  # momentum of the weights' moving average; 0: off
    train.mixed_precision = ""  # "" | "bfloat16" | "float16"; of use on a GPU
    train.xla = False  # compiles the steps; on a GPU only
    train.checkpoint_seconds = 60.0  # of work that a kill costs at most; less where saving is quick

    config.evaluate = evaluate = ml_collections.ConfigDict()
    # Test accuracy below which the model is not blessed; None: clearly more than always guessing the largest class.
    evaluate.accuracy_threshold = config_dict.placeholder(float)
    evaluate.max_accuracy_drop = 0.0  # how far below the latest blessed model it may be

    config.serving = serving = ml_collections.ConfigDict()
    serving.top_k = 5  # classes in a served answer

    config.deploy = deploy = ml_collections.ConfigDict()
    # "docker" | "kubernetes": load the model into a real TF Serving before it is pushed. Off, since it needs a Docker
    # engine here, or to run inside of Kubernetes; where there is neither, no model would ever be pushed.
    deploy.infra_validation = ""
    deploy.tensorflow_serving_tag = "2.16.1"  # of the image tensorflow/serving that infra_validation takes
    deploy.bulk_inference = ""  # a split, such as "test", whose images the blessed model classifies; "": none

    # What the pods ask of Kubernetes (pipeline/kubeflow_runner.py).
    config.kubeflow = kubeflow = ml_collections.ConfigDict()
    kubeflow.gpu_resource = "nvidia.com/gpu"  # the name that the cluster's device plugin gives to its GPUs
    kubeflow.gpu_node_label = ""  # "KEY=VALUE" of the nodes with the kind of GPU that is wanted; "": any
    kubeflow.retries = 3  # of the search and the training, which go on from their checkpoints
    for node, cpu, memory_gb, gpus in (("search", 4.0, 16.0, 1), ("train", 4.0, 16.0, 1), ("other", 2.0, 8.0, 0)):
        kubeflow[node] = ml_collections.ConfigDict({"cpu": cpu, "memory_gb": memory_gb, "gpus": gpus})
    return config
