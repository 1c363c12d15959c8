//! Plans for all layers, from large and exact to small and coarse.

use super::menu::{Choice, Offer};

/// One choice for every layer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) choices: Vec<Choice>,
    /// Coded bytes of all weights.
    pub(super) bytes: usize,
    /// Sum of the layers' losses.
    pub(super) loss: f64,
}

/// Prices of a byte that are tried, in units of loss: from one at which no byte is worth losing
/// anything to one at which nothing is worth a byte, in equal factors.
const PRICES: [f64; 2] = [1e-12, 1e2];

/// How many.
const STEPS: i32 = 280;

/// The best plan for each price of a byte, each once, largest first.
pub(super) fn ladder(menus: &[Vec<Offer>]) -> Vec<Plan> {
    let factor = (PRICES[1] / PRICES[0]).powf(1.0 / f64::from(STEPS));
    let mut plans: Vec<Plan> = Vec::new();
    for step in 0..=STEPS {
        let plan = plan(menus, PRICES[0] * factor.powi(step));
        if plans.last().is_none_or(|last| last.choices != plan.choices) {
            plans.push(plan);
        }
    }
    plans
}

fn plan(menus: &[Vec<Offer>], price: f64) -> Plan {
    let cost = |o: &&Offer| o.loss + price * o.bytes as f64;
    let best = |menu: &Vec<Offer>| {
        menu.iter()
            .min_by(|a, b| cost(a).total_cmp(&cost(b)))
            .copied()
    };
    let offers: Vec<Offer> = menus.iter().filter_map(best).collect();
    Plan {
        choices: offers.iter().map(|o| o.choice).collect(),
        bytes: offers.iter().map(|o| o.bytes).sum(),
        loss: offers.iter().map(|o| o.loss).sum(),
    }
}

/// At most `count` of the plans, at about equal factors of their bytes.
pub(super) fn thinned(plans: Vec<Plan>, count: usize) -> Vec<Plan> {
    let (Some(first), Some(last)) = (plans.first(), plans.last()) else {
        return plans;
    };
    if plans.len() <= count {
        return plans;
    }
    let log = |plan: &Plan| (plan.bytes.max(1) as f64).ln();
    let (high, low) = (log(first), log(last));
    let target = |i: usize| high + (low - high) * i as f64 / (count.max(2) - 1) as f64;
    let mut places: Vec<usize> = (0..count)
        .filter_map(|i| {
            let away = |p: &Plan| (log(p) - target(i)).abs();
            let order = |a: &usize, b: &usize| away(&plans[*a]).total_cmp(&away(&plans[*b]));
            (0..plans.len()).min_by(order)
        })
        .collect();
    places.dedup();
    places
        .into_iter()
        .map(|place| plans[place].clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(bytes: usize, loss: f64) -> Offer {
        let choice = Choice {
            sparsity: loss,
            entries: bytes,
        };
        Offer {
            choice,
            bytes,
            loss,
        }
    }

    /// Against all combinations: a plan of the ladder is never beaten on both counts.
    #[test]
    fn no_combination_is_smaller_and_better_than_a_plan() {
        let one = vec![
            offer(1000, 0.0),
            offer(500, 0.1),
            offer(400, 0.9),
            offer(100, 1.0),
        ];
        let two = vec![offer(90, 0.0), offer(60, 0.5), offer(10, 0.6)];
        let plans = ladder(&[one.clone(), two.clone()]);
        for plan in &plans {
            let all = one.iter().flat_map(|a| two.iter().map(move |b| (a, b)));
            let better = all
                .map(|(a, b)| (a.bytes + b.bytes, a.loss + b.loss))
                .any(|(bytes, loss)| bytes < plan.bytes && loss < plan.loss - 1e-12);
            assert!(!better, "{plan:?}");
        }
        let sizes: Vec<usize> = plans.iter().map(|p| p.bytes).collect();
        assert_eq!(
            sizes,
            [1090, 590, 190, 110],
            "by rising slope, largest first"
        );
    }

    #[test]
    fn few_plans_stand_for_many() {
        let menu: Vec<Offer> = (1..40)
            .map(|i| offer(1 << (i / 3 + 4), -f64::from(i)))
            .collect();
        let plans = ladder(&[menu]);
        let few = thinned(plans.clone(), 3);
        assert!(few.len() <= 3);
        assert_eq!(few.first(), plans.first());
        assert_eq!(thinned(plans.clone(), 1000), plans);
    }
}
