//! The optional parts of the program: cargo features of `kokeshi-cli`.

use std::sync::LazyLock;

/// Each feature, and whether this build includes it.
const FEATURES: [(&str, bool); 11] = [
    ("ann", cfg!(feature = "ann")),
    ("chroma", cfg!(feature = "chroma")),
    ("compression", cfg!(feature = "compression")),
    ("cuda", cfg!(feature = "cuda")),
    ("milvus", cfg!(feature = "milvus")),
    ("office", cfg!(feature = "office")),
    ("parquet", cfg!(feature = "parquet")),
    ("pdf", cfg!(feature = "pdf")),
    ("postgres", cfg!(feature = "postgres")),
    ("qdrant", cfg!(feature = "qdrant")),
    ("tsne", cfg!(feature = "tsne")),
];

/// For `--version` and `--help`: the features of this build, and those that it lacks.
pub(crate) static SUMMARY: LazyLock<String> = LazyLock::new(|| {
    let names = |included: bool| -> Vec<&str> {
        FEATURES.iter().filter(|feature| feature.1 == included).map(|feature| feature.0).collect()
    };
    let (included, missing) = (names(true), names(false));
    let included = if included.is_empty() { "none".to_owned() } else { included.join(", ") };
    match missing.as_slice() {
        [] => format!("features: {included}"),
        missing => format!("features: {included}; not in this build: {}", missing.join(", ")),
    }
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_of_the_manifest_is_listed() {
        let manifest: toml::Table = toml::from_str(include_str!("../Cargo.toml")).expect("TOML");
        let features = manifest["features"].as_table().expect("features");
        let bundles = ["default", "full"];
        let declared = features.keys().map(String::as_str).filter(|name| !bundles.contains(name));
        let mut listed = FEATURES.map(|feature| feature.0);
        listed.sort_unstable();
        assert_eq!(declared.collect::<std::collections::BTreeSet<_>>(), listed.into());
    }
}
