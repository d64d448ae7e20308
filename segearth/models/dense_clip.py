"""Dense features of an unmodified CLIP: tokens of its patches in the joint space of images and texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from segearth.errors import UserError
from segearth.models.attention import check_method, find_method
from segearth.models.trunk import Options, Trunk, scaled_layers


class DenseCLIP(nn.Module):
    """The image tower of an `open_clip.CLIP`, read out patch by patch.

    Nothing of the CLIP is changed or copied: its blocks run as they are, and a method reads features out of them, as
    a rule by a computation on the weights of the last one.
    """

    def __init__(
        self,
        clip: nn.Module,
        method: str = "SegEarth",
        ignore_residual: bool = True,
        cls_column_zero: bool = False,
        cls_row_layers: tuple[int, int] | None = None,
    ) -> None:
        """Wraps the image tower.

        Args:
            clip: an `open_clip.CLIP` with a ViT image tower of any patch size.
            method: a name of `segearth.models.attention.METHODS`, or of a package that adds methods.
            ignore_residual: see `segearth.models.trunk.Options`.
            cls_column_zero: likewise.
            cls_row_layers: likewise.

        Raises:
            UserError: unknown method, an option that it does not follow, or an image tower that is no open_clip ViT.
        """
        super().__init__()
        options = Options(ignore_residual, cls_column_zero, cls_row_layers)
        check_method(method, options)
        visual: Any = getattr(clip, "visual", None)
        if not hasattr(visual, "transformer") or not hasattr(visual, "class_embedding"):
            raise UserError(
                f"the image tower {type(visual).__name__} is no ViT of open_clip: "
                "give an open_clip.CLIP such as ViT-B-16-quickgelu"
            )
        self.visual = visual
        self.method = method
        self.options = options

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels."""
        return int(self.visual.conv1.stride[0])

    @property
    def dim(self) -> int:
        """Width D of the features."""
        return int(self.visual.proj.shape[1])

    @property
    def width(self) -> int:
        """Width of the transformer's tokens."""
        return int(self.visual.conv1.out_channels)

    @property
    def has_cls(self) -> bool:
        """Whether the method yields a [CLS] vector (GEM does not)."""
        return find_method(self.method).has_cls

    @property
    def beyond_paper(self) -> dict[str, Any]:
        """Options in use that the paper does not have; `cls_row_layers` as layers of this CLIP, counted from 1."""
        options: dict[str, Any] = {"cls_column_zero": True} if self.options.cls_column_zero else {}
        if (layers := self.options.cls_row_layers) is not None:
            options["cls_row_layers"] = list(scaled_layers(layers, len(self.visual.transformer.resblocks)))
        return options

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """Encodes images.

        Args:
            image: (B, 3, H, W), normalised with CLIP's mean and standard deviation, H and W at least one
                patch; a remainder at the right and bottom that fills no patch is not seen.

        Returns:
            Patch features (B, D, h, w) with h = H // patch_size, in the joint space but not normalised,
            and the [CLS] vector (B, D) of the same modified output, or None where the method has none.

        Raises:
            ValueError: an image smaller than a patch.
        """
        return find_method(self.method).read_out(self.trunk(image))

    def trunk(self, image: Tensor) -> Trunk:
        """The `Trunk` of images that a method reads; arguments as of `forward`."""
        if min(image.shape[-2:]) < self.patch_size:
            raise ValueError(
                f"an image of {tuple(image.shape[-2:])} pixels has no patch of {self.patch_size}: enlarge it"
            )
        return Trunk(self.visual, image, self.options, find_method(self.method).antialiased_positions)

    def input_features(self, image: Tensor) -> Tensor:
        """Patch features of the last block's input: SimFeatUp was trained on these.

        Args:
            image: as in `forward`.

        Returns:
            (B, D, h, w): the output of the last block but one, after ln_post and the projection; independent of
            the method.
        """
        trunk = self.trunk(image)
        return trunk.projected(trunk.hidden(trunk.depth - 1))[0]

    def with_embedding(self, image: Tensor, chosen: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """`forward` of a method with [CLS], and CLIP's own embedding of some of the images for one more block.

        Args:
            image: as in `forward`, of the size that the CLIP was made for.
            chosen: K indices into the batch.

        Returns:
            Patch features (B, D, h, w), [CLS] vectors (B, D), and (K, D): what `clip.encode_image` gives.

        Raises:
            ValueError: the method has no [CLS].
        """
        trunk = self.trunk(image)
        features, cls = find_method(self.method).read_out(trunk)
        if cls is None:
            raise ValueError(f"{self.method} has no [CLS]")
        tokens = self.visual.transformer.resblocks[-1](trunk.hidden(trunk.depth - 1)[list(chosen)])
        return features, cls, trunk.projected(tokens)[1]
