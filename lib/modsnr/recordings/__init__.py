"""Foreign files in: RadioML 2018.01A and 2016.10, SigMF, raw IQ, WAV; audits of their labels."""
