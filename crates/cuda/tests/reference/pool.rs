use crate::{gpus, values, write};
use kokeshi_testkit::Random;
use std::ops::Range;

#[test]
fn pooling_sums_spans_of_the_first_columns() {
    for gpu in gpus() {
        let (rows, hidden) = (900, 72);
        let x = values(&mut Random::new(6), gpu.dtype(), rows * hidden);
        let states = write(&gpu, &x, hidden, 32);
        let spans = [0..900, 3..3, 899..900, 100..611];
        for width in [72, 40] {
            let got = gpu.pool(&states, width, &spans).expect("sums");
            let sum = |span: &Range<usize>, c: usize| -> f64 {
                span.clone().map(|t| f64::from(x[t * hidden + c])).sum()
            };
            let want: Vec<f64> =
                spans.iter().flat_map(|span| (0..width).map(move |c| sum(span, c))).collect();
            let wrong = got
                .iter()
                .zip(&want)
                .filter(|(got, want)| f64::from(**got) != f64::from(**want as f32));
            assert_eq!(wrong.count(), 0, "{gpu:?}: sums in f64 are exact to f32");
        }
    }
}
