"""The kinds of network by the names that configurations use."""

from models.networks.cell_network import cifar_network, imagenet_network
from models.networks.mobile_network import mobile_network
from models.networks.nasbench201_network import nasbench201_network

NETWORKS = {
    "cifar": cifar_network,
    "imagenet": imagenet_network,
    "mobile": mobile_network,
    "nasbench201": nasbench201_network,
}
"""The kinds of network by the names that configurations use."""
