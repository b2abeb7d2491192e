//! Cases of jina-embeddings-v2: the first elements and the norm of one text's vector.

use super::CaseResult;
use super::reference::{Family, FirstElements};
use kokeshi::{Input, Model, Options};

pub(super) fn run(
    model: &Model,
    family: &Family,
    published: &FirstElements,
) -> anyhow::Result<Vec<CaseResult>> {
    let options = Options { normalized: false, ..Options::default() };
    let embedded = model.embed(&[Input::new(&family.text).options(options)])?;
    let vector: Vec<f32> =
        embedded.into_iter().flat_map(|result| result.vectors).flatten().collect();
    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    let first: Vec<f32> = vector.into_iter().take(published.first.len()).collect();
    let result = |case: &str, measured: &[f32], expected: &[f32]| {
        let case = format!("text-embeddings-inference test, {case}");
        CaseResult::new(case, measured, expected, family.tolerance.atol, family.tolerance.rtol)
    };
    Ok(vec![
        result("first elements", &first, &published.first),
        result("norm of the vector", &[norm], &[published.norm]),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::models::verify::reference;
    use kokeshi::LoadOptions;
    use kokeshi_testkit::{Goldens, fixture, json};

    #[test]
    fn the_compared_vector_is_the_mean_before_normalization() {
        let folder = "v2-tiny/code_bpe";
        let model = Model::open(&fixture(folder), &LoadOptions::default()).expect("a model");
        let goldens = Goldens::open(&format!("{folder}/golden.safetensors"));
        let mean = &goldens.get("mean.00").values;
        let mut family = reference::v2().expect("valid JSON");
        let text = json(&format!("{folder}/golden.json"))["texts"][0]["text"].clone();
        family.text = text.as_str().expect("a text").to_owned();
        let norm = mean.iter().map(|x| x * x).sum::<f32>().sqrt();
        let mut published = FirstElements { first: mean[..5].to_vec(), norm };
        let passes = |published: &FirstElements| {
            let results = run(&model, &family, published).expect("results");
            results.iter().map(|result| result.pass).collect::<Vec<_>>()
        };
        assert_eq!(passes(&published), [true, true]);
        published.norm *= 1.01;
        published.first[4] += 0.01;
        assert_eq!(passes(&published), [false, false]);
    }
}
