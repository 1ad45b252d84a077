"""Export: the same weights in the formats of phones, browsers and boards, proved to be the same model."""
