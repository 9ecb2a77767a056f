"""Works with containers of docker, podman and containerd (categories ``container`` and ``docker``)."""

from adapters.runners.container.orphans import OrphanContainers
from adapters.runners.container.owner import Owner
from adapters.runners.container.policy import ContainerPolicy
from adapters.runners.container.runner import ContainerRunner

__all__ = ["ContainerPolicy", "ContainerRunner", "OrphanContainers", "Owner"]
