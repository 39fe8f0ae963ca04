"""What the gateway calls the one version that each of its models has; deployments' versions are the router's."""

from trident.errors import NotFoundError

MODEL_VERSION = "1"


def check_version(model: str, version: str) -> None:
    """Raises NotFoundError: a client asks for another one; an empty one is any."""
    if version not in {"", MODEL_VERSION}:
        raise NotFoundError(
            f"the model '{model}' has no version '{version}'; ask for {MODEL_VERSION} or for none", param="version"
        )
