//! The generator of `fixtures/gen/lcg.py`, and its file of answers.

use vit_metrics::Value;

const TOLERANCE: f64 = 1e-12;

pub(crate) struct Lcg(u64);

impl Lcg {
    pub(crate) fn new(family: u64, case: usize) -> Self {
        let mut lcg = Self(family * 1_000_003 + case as u64 + 1);
        for _ in 0..4 {
            lcg.next();
        }
        lcg
    }

    fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(crate) fn pick<T: Copy>(&mut self, options: &[T]) -> T {
        options[self.below(options.len())]
    }
}

/// The answers, read in the order in which they were written.
pub(crate) struct Answers {
    bytes: std::slice::Iter<'static, [u8; 7]>,
    pub(crate) compared: usize,
    pub(crate) undefined: usize,
}

impl Answers {
    pub(crate) fn new(bytes: &'static [u8]) -> Self {
        let (answers, rest) = bytes.as_chunks();
        assert!(rest.is_empty());
        Self { bytes: answers.iter(), compared: 0, undefined: 0 }
    }

    /// Compares every fourth value of a case with its answer.
    pub(crate) fn check(&mut self, what: &str, case: usize, values: &[(String, Value)]) {
        for (place, (name, value)) in values.iter().enumerate() {
            if (place + case).is_multiple_of(4) {
                let mut bits = [0; 8];
                bits[..7].copy_from_slice(self.bytes.next().expect("the fixture is too short"));
                let expected = f64::from_be_bytes(bits);
                self.compare(&format!("{what} {case}, {name}"), *value, expected);
            }
        }
    }

    fn compare(&mut self, what: &str, value: Value, expected: f64) {
        self.compared += 1;
        self.undefined += usize::from(expected.is_nan());
        match value.defined() {
            None => assert!(expected.is_nan(), "{what}: {value} against {expected}"),
            Some(got) => {
                let scale = expected.abs().max(1.0);
                assert!(
                    (got - expected).abs() <= TOLERANCE * scale,
                    "{what}: {got} against {expected}"
                );
            }
        }
    }

    pub(crate) fn finish(&self) {
        assert_eq!(self.bytes.len(), 0, "answers are left over");
    }
}
