//! Where etcd, kube-apiserver, kube-controller-manager and kubectl are.

use std::{
    env,
    path::{Path, PathBuf},
};

use super::failure::{Failure, Result};

/// The folder of the control plane's programs.
#[derive(Debug, Clone)]
pub(crate) struct Binaries(PathBuf);

impl Binaries {
    /// envtest's own folder where it is set, else the one that `make control-plane` fills.
    pub(crate) fn find() -> Self {
        let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join(".control-plane/bin");
        let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Self(set("KUBEBUILDER_ASSETS").or_else(|| set("RAS_OPERATOR_CONTROL_PLANE")).unwrap_or(kept))
    }

    /// The path of a program that has to be there.
    pub(crate) fn required(&self, name: &str) -> Result<PathBuf> {
        self.optional(name).ok_or_else(|| {
            Failure::new(format!(
                "unable to find {name} in {}: run `make control-plane`, or set KUBEBUILDER_ASSETS to a folder with \
                 envtest's etcd, kube-apiserver and kubectl",
                self.0.display()
            ))
        })
    }

    /// The path of a program that envtest does not bring.
    pub(crate) fn optional(&self, name: &str) -> Option<PathBuf> {
        Some(self.0.join(name)).filter(|path| path.is_file())
    }
}
