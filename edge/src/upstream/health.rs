//! Whether an upstream is up by its active checks: a change of mind takes several results in a row.

/// What checks have said so far. Up until they say otherwise.
#[derive(Clone, Copy, Debug)]
pub(super) struct Health {
    rise: u32,
    fall: u32,
    up: bool,
    /// Results in a row that contradict `up`.
    against: u32,
}

impl Health {
    /// Good checks in a row that bring it up, bad ones that take it down.
    pub(super) fn new(rise: u32, fall: u32) -> Self {
        Self {
            rise,
            fall,
            up: true,
            against: 0,
        }
    }

    /// Takes a check's result in; the new state where it changed.
    pub(super) fn report(&mut self, good: bool) -> Option<bool> {
        if good == self.up {
            self.against = 0;
            return None;
        }
        self.against += 1;
        if self.against < if self.up { self.fall } else { self.rise } {
            return None;
        }
        self.up = good;
        self.against = 0;
        Some(good)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rise_and_fall_take_results_in_a_row() {
        let mut health = Health::new(2, 3);
        let mut told = |results: &str| -> String {
            results
                .chars()
                .map(|c| match health.report(c == '+') {
                    None => '.',
                    Some(true) => 'U',
                    Some(false) => 'D',
                })
                .collect()
        };
        assert_eq!(told("--+--+"), "......");
        assert_eq!(told("---"), "..D");
        assert_eq!(told("--+-+"), ".....");
        assert_eq!(told("++"), "U.");
        assert_eq!(told("+--"), "...");
        assert!(health.up);
    }
}
