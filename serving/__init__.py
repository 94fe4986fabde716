"""What serves a pushed model: TF Serving's settings, Kubernetes manifests and a client."""
