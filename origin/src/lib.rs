//! The store's front door: objects, manifests and the control plane's services.
