"""What is kept for a visitor: photos, cut-outs, settings, and the files behind them."""
