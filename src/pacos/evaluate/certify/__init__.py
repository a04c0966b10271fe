"""`pacos certify`: what a judge is tested on, and the certificate that it earns."""
