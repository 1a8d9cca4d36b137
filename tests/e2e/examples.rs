//! Every whole manifest that a page shows is taken by a real API server, every field of it known.

use std::fs;
use std::path::Path;

use crate::page;
use crate::support::{control_plane, kubectl};

const PAGES: [&str; 3] = ["README.md", "docs/troubleshooting.md", "docs/simulator.md"];

/// The YAML blocks of a page.
fn blocks(page: &str) -> Vec<String> {
    let text = page::read(page);
    let parts = text.split("```yaml\n").skip(1);
    parts.map(|part| part.split("```").next().unwrap_or_default().to_owned()).collect()
}

/// Those that are manifests, and those that are kustomizations.
fn examples() -> (Vec<String>, Vec<String>) {
    let whole = PAGES.iter().flat_map(|page| blocks(page)).filter(|block| block.starts_with("apiVersion:"));
    whole.partition(|block| !block.contains("kind: Kustomization"))
}

#[tokio::test]
async fn manifests_of_the_pages_are_accepted_without_a_warning() {
    let plane = control_plane().await;
    let namespace = plane.namespace("examples").await;
    let (manifests, _) = examples();
    assert!(!manifests.is_empty());
    for manifest in manifests {
        let file = plane.folder().join(format!("{namespace}.yaml"));
        fs::write(&file, &manifest).expect("a file");
        let file = file.display().to_string();
        let apply =
            ["apply", "--dry-run=server", "--validate=strict", "--warnings-as-errors", "-n", &namespace];
        let applied = kubectl(plane, &[&apply[..], &["-f", &file]].concat()).await;
        let objects = manifest.matches("\nkind:").count();
        assert_eq!(applied.matches("created (server dry run)").count(), objects, "{applied}");
    }
}

#[tokio::test]
async fn the_kustomization_of_the_readme_changes_the_image() {
    let plane = control_plane().await;
    let (_, kustomizations) = examples();
    let [kustomization] = kustomizations.as_slice() else { panic!("one kustomization") };
    let folder = tempfile::tempdir_in(plane.folder()).expect("a folder");
    for part in ["deploy", "crds"] {
        copy(&page::path(part), &folder.path().join(part));
    }
    fs::write(folder.path().join("kustomization.yaml"), kustomization).expect("a file");
    let shown = folder.path().display().to_string();
    let rendered = kubectl(plane, &["kustomize", &shown]).await;
    assert!(rendered.contains("image: registry.example.com/ras-operator:0.1.0"), "{rendered}");
    assert_eq!(rendered.matches("kind: CustomResourceDefinition").count(), ras_operator::crd::crds().len());
}

/// Files of a folder; folders in it are left out.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").flatten().filter(|entry| entry.path().is_file()) {
        fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
    }
}
