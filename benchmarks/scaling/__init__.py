"""What more machines would carry: predicted from measured curves, and the prediction compared with measurements."""
