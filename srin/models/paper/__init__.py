"""The paper's networks, to the letter: a U-Net with RAIN in its decoder, and BAIN or SRIN between encoder and decoder."""
