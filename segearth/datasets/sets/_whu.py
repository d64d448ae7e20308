"""What the two WHU sets share."""

TYPES = (".tif", ".tiff", ".png")
CITATION = (
    "Ji et al., Fully Convolutional Networks for Multisource Building Extraction From an Open Aerial and Satellite "
    "Imagery Data Set, TGRS 2019"
)
LICENCE = (
    "not stated by the publisher's pages that were at hand; a copy by others says CC BY 4.0 "
    "(https://huggingface.co/datasets/giswqs/WHU-Building-Dataset)"
)
