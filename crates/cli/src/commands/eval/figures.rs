//! The figures of an evaluation.

use super::kind::Measure;
use super::search::MethodFigures;
use crate::args::EvalKind;
use kokeshi_analysis::Quality;

/// What was measured, with which model.
#[derive(Debug)]
pub(super) struct Evaluation {
    pub(super) model: String,
    pub(super) revision: String,
    /// Numbers of dimensions, as the user ordered them.
    pub(super) dimensions: Vec<usize>,
    /// Precisions, as the user ordered them.
    pub(super) precisions: Vec<String>,
    /// The model's device in the first precision, for people.
    pub(super) device: String,
    /// Seed of shares and examples.
    pub(super) seed: u64,
    /// How search was measured; `None` if it was not.
    pub(super) search: Option<SearchSettings>,
    pub(super) sets: Vec<SetFigures>,
    /// Whether Ctrl-C ended it early.
    pub(super) is_stopped: bool,
}

/// How search indexes.
#[derive(Clone, Debug)]
pub(super) struct SearchSettings {
    pub(super) dimensions: usize,
    pub(super) chunking: String,
    pub(super) storage: String,
    pub(super) shortlist: Option<String>,
}

/// The figures of a set, or of one way to use it.
#[derive(Clone, Debug)]
pub(super) struct SetFigures {
    pub(super) kind: EvalKind,
    pub(super) name: String,
    /// What it has in common with its versions in other languages.
    pub(super) family: String,
    pub(super) language: Option<String>,
    /// Counts with their nouns: 600 pairs.
    pub(super) counts: Vec<(usize, &'static str)>,
    /// Tasks of its texts; `None` is no task.
    pub(super) tasks: Vec<Option<String>>,
    /// What a reader must know about the figures.
    pub(super) notes: Vec<String>,
    /// One for each precision and number of dimensions, in this order.
    pub(super) figures: Vec<Figures>,
    /// One for each method of search; empty if they were not compared.
    pub(super) methods: Vec<MethodFigures>,
}

/// The values of a precision and number of dimensions.
#[derive(Clone, Debug)]
pub(super) struct Figures {
    pub(super) precision: String,
    pub(super) dimensions: usize,
    /// In the order of the kind's measures, from 0 to 1.
    pub(super) values: Vec<f64>,
}

impl SetFigures {
    /// The values of a precision and number of dimensions.
    pub(super) fn at(&self, precision: &str, dimensions: usize) -> Option<&[f64]> {
        let is_it =
            |figures: &&Figures| figures.precision == precision && figures.dimensions == dimensions;
        self.figures.iter().find(is_it).map(|figures| figures.values.as_slice())
    }
}

impl Evaluation {
    /// Adds the figures of a set, or those of another precision to it.
    pub(super) fn add(&mut self, set: SetFigures) {
        let known = self.sets.iter_mut().find(|known| {
            known.kind == set.kind
                && known.name == set.name
                && set.figures.iter().all(|new| known.at(&new.precision, new.dimensions).is_none())
        });
        match known {
            Some(known) => known.figures.extend(set.figures),
            None => self.sets.push(set),
        }
    }

    /// Kinds that were measured, with their sets.
    pub(super) fn by_kind(&self) -> Vec<(EvalKind, Vec<&SetFigures>)> {
        let of = |kind: EvalKind| self.sets.iter().filter(move |set| set.kind == kind).collect();
        let all = EvalKind::ALL.into_iter().map(|kind| (kind, of(kind)));
        all.filter(|(_, sets): &(_, Vec<_>)| !sets.is_empty()).collect()
    }

    /// Whether several precisions or numbers of dimensions were compared.
    pub(super) fn is_sweep(&self) -> bool {
        self.dimensions.len() > 1 || self.precisions.len() > 1
    }
}

/// `sets` by family, in the order in which these appear.
pub(super) fn families<'a>(sets: &[&'a SetFigures]) -> Vec<(&'a str, Vec<&'a SetFigures>)> {
    let mut families: Vec<(&str, Vec<&SetFigures>)> = Vec::new();
    for set in sets {
        match families.iter_mut().find(|(family, _)| *family == set.family) {
            Some((_, members)) => members.push(set),
            None => families.push((&set.family, vec![set])),
        }
    }
    families
}

/// The means of all measures over `sets`, which all have the same weight; `None` if one lacks them.
pub(super) fn means(sets: &[&SetFigures], precision: &str, dimensions: usize) -> Option<Vec<f64>> {
    let all: Option<Vec<&[f64]>> = sets.iter().map(|set| set.at(precision, dimensions)).collect();
    let all = all.filter(|all| !all.is_empty())?;
    let mean = |measure: usize| {
        let sum: f64 = all.iter().filter_map(|values| values.get(measure)).sum();
        sum / all.len() as f64
    };
    Some((0..all[0].len()).map(mean).collect())
}

/// A value as people read it: a percentage, or a hundredfold correlation.
pub(super) fn shown(value: f64) -> String {
    format!("{:.2}", 100.0 * value)
}

/// The plural of what is counted: `pairs`, `queries`.
pub(super) fn plural(noun: &str) -> String {
    noun.strip_suffix('y').map_or_else(|| format!("{noun}s"), |stem| format!("{stem}ies"))
}

/// The main measure of a kind.
pub(super) fn main_measure(kind: EvalKind) -> Measure {
    kind.measures()[0]
}

/// The mean of each method of search over the sets that were searched, which all have the same
/// weight; none for fewer than two.
pub(super) fn method_means(sets: &[SetFigures]) -> Vec<MethodFigures> {
    let searched: Vec<&SetFigures> = sets.iter().filter(|set| !set.methods.is_empty()).collect();
    let [first, _, ..] = searched[..] else { return Vec::new() };
    let mean = |(at, method): (usize, &MethodFigures)| {
        let all = searched.iter().filter_map(|set| set.methods.get(at));
        let (chunks, all): (Vec<usize>, Vec<Quality>) =
            all.map(|figures| (figures.chunks, figures.quality)).unzip();
        let chunks = chunks.iter().sum();
        MethodFigures { chunks, quality: Quality::mean(&all), ..method.clone() }
    };
    first.methods.iter().enumerate().map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, precision: &str, values: &[f64]) -> SetFigures {
        let figures =
            Figures { precision: precision.to_owned(), dimensions: 8, values: values.to_vec() };
        SetFigures {
            kind: EvalKind::Bitext,
            name: name.to_owned(),
            family: name[..1].to_owned(),
            language: None,
            counts: Vec::new(),
            tasks: Vec::new(),
            notes: Vec::new(),
            figures: vec![figures],
            methods: Vec::new(),
        }
    }

    fn empty() -> Evaluation {
        Evaluation {
            model: String::new(),
            revision: String::new(),
            dimensions: vec![8],
            precisions: Vec::new(),
            device: String::new(),
            seed: 0,
            search: None,
            sets: Vec::new(),
            is_stopped: false,
        }
    }

    #[test]
    fn a_second_precision_joins_the_figures_of_its_set() {
        let mut evaluation = empty();
        for precision in ["f32", "int8"] {
            evaluation.add(set("a1", precision, &[0.5, 0.25]));
            // The same set may be named twice.
            evaluation.add(set("a1", precision, &[0.5, 0.25]));
        }
        assert_eq!(evaluation.sets.len(), 2);
        assert!(evaluation.sets.iter().all(|set| set.figures.len() == 2));
        assert_eq!(evaluation.sets[0].at("int8", 8), Some(&[0.5, 0.25][..]));
        assert_eq!(evaluation.sets[0].at("int8", 9), None);
    }

    #[test]
    fn means_are_over_the_sets_of_a_family() {
        let sets = [
            set("a1", "f32", &[0.5, 0.0]),
            set("b1", "f32", &[0.1, 0.1]),
            set("a2", "f32", &[1.0, 0.5]),
        ];
        let sets: Vec<&SetFigures> = sets.iter().collect();
        let families = families(&sets);
        assert_eq!(families.iter().map(|(_, of)| of.len()).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(means(&families[0].1, "f32", 8), Some(vec![0.75, 0.25]));
        assert_eq!(means(&families[0].1, "int8", 8), None);
        assert_eq!(means(&[], "f32", 8), None);
    }
}
