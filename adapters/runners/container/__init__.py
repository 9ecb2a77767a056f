"""Works with containers of docker, podman and containerd (categories ``container`` and ``docker``)."""

from adapters.runners.container.policy import ContainerPolicy
from adapters.runners.container.runner import ContainerRunner, cleanup_leftovers

__all__ = ["ContainerPolicy", "ContainerRunner", "cleanup_leftovers"]
