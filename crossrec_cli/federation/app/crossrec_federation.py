"""The two apps of a federation, for Flower's processes."""

from crossrec_cli.federation.flower import deployed_client, deployed_server

client = deployed_client()
server = deployed_server()
