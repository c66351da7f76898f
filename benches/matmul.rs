//! Products: the plan of one matmul on every device, and for square ones the bare call that the
//! executor is built on.

use std::hint::black_box;

use anyhow::{Context, Result, ensure};
use gradus::graph::philox::Rng;
use gradus::nn::init::Zeros;
use gradus::train::Device;

use crate::harness::{Case, Contestant};
use crate::machine;
use crate::planned::Planned;

/// `batch` products of `[m, k]` and `[k, n]`.
#[derive(Clone, Copy)]
struct Product {
    name: &'static str,
    batch: usize,
    m: usize,
    n: usize,
    k: usize,
    layout: Layout,
}

/// Which factor lies transposed in memory, as BLAS writes it.
#[derive(Clone, Copy, PartialEq)]
enum Layout {
    Nn,
    Nt,
    Tn,
}

const PRODUCTS: [Product; 12] = [
    square("matmul 128", 128, Layout::Nn),
    square("matmul 256", 256, Layout::Nn),
    square("matmul 512", 512, Layout::Nn),
    square("matmul 1024", 1024, Layout::Nn),
    square("matmul 2048", 2048, Layout::Nn),
    square("matmul 512 NT", 512, Layout::Nt),
    square("matmul 512 TN", 512, Layout::Tn),
    Product {
        batch: 16,
        ..square("matmul 16 of 128", 128, Layout::Nn)
    },
    single("matmul 4096×64, K 64", 4096, 64, 64),
    single("matmul 64×64, K 4096", 64, 64, 4096),
    single("matmul 1×1024, K 1024", 1, 1024, 1024),
    single("matmul 1024×1, K 1024", 1024, 1, 1024),
];

const fn square(name: &'static str, n: usize, layout: Layout) -> Product {
    Product {
        layout,
        ..single(name, n, n, n)
    }
}

const fn single(name: &'static str, m: usize, n: usize, k: usize) -> Product {
    Product {
        name,
        batch: 1,
        m,
        n,
        k,
        layout: Layout::Nn,
    }
}

pub(crate) fn cases(
    devices: &[Device],
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Vec<Case<'static>>> {
    let mut cases = Vec::new();
    for product in PRODUCTS.iter().filter(|product| wanted(product.name)) {
        let is_square = product.m == product.n && product.n == product.k;
        let mut contestants = Vec::new();
        if is_square && product.batch == 1 && product.layout == Layout::Nn {
            contestants.push(product.bare()?);
        }
        for device in devices {
            let on = || format!("{} on {}", product.name, machine::short_name(device));
            contestants.push(product.on(device).with_context(on)?);
        }
        cases.push(Case {
            name: product.name.into(),
            unit: "GFLOP/s",
            amount: 2.0 * (product.batch * product.m * product.n * product.k) as f64 / 1e9,
            contestants,
        });
    }
    Ok(cases)
}

impl Product {
    /// Two arrays with elements in [−1, 1).
    fn factors(&self) -> [Vec<f32>; 2] {
        let counts = [self.m * self.k, self.k * self.n].map(|count| self.batch * count);
        [1, 2].map(|stream| {
            let mut rng = Rng::new(0, stream);
            (0..counts[stream as usize - 1])
                .map(|_| (2.0 * rng.uniform() - 1.0) as f32)
                .collect()
        })
    }

    /// Compares some elements with sums in f64.
    fn check(&self, [a, b]: &[Vec<f32>; 2], c: &[f32]) -> Result<()> {
        let &Self {
            batch,
            m,
            n,
            k: sum,
            ..
        } = self;
        let all = batch * m * n;
        ensure!(c.len() == all, "{} elements, expected {all}", c.len());
        let a_at = |p, i, k| match self.layout {
            Layout::Tn => a[(p * sum + k) * m + i],
            _ => a[(p * m + i) * sum + k],
        };
        let b_at = |p, k, j| match self.layout {
            Layout::Nt => b[(p * n + j) * sum + k],
            _ => b[(p * sum + k) * n + j],
        };
        let mut rng = Rng::new(0, 3);
        let mut below = |n: usize| rng.below(u32::try_from(n).unwrap_or(u32::MAX)) as usize;
        for _ in 0..1000 {
            let (p, i, j) = (below(batch), below(m), below(n));
            let terms = (0..sum).map(|k| f64::from(a_at(p, i, k)) * f64::from(b_at(p, k, j)));
            let (exact, size) =
                terms.fold((0.0, 0.0), |(sum, size), t: f64| (sum + t, size + t.abs()));
            let found = f64::from(c[(p * m + i) * n + j]);
            ensure!(
                (found - exact).abs() <= 4.0 * f64::from(f32::EPSILON) * size,
                "[{p}, {i}, {j}] is {found}, expected {exact}"
            );
        }
        Ok(())
    }

    /// The call that the executor is built on, without plan, runtime or memory of a model.
    fn bare(&self) -> Result<Contestant<'static>> {
        let (factors, sizes) = (self.factors(), [self.m, self.n, self.k]);
        let mut c = vec![0.0; self.m * self.n];
        let [a, b] = &factors;
        gradus::cpu::gemm_rows(sizes, &mut c, a, b, true);
        self.check(&factors, &c).context("bare gemm")?;
        let run = move |times: usize| {
            let [a, b] = &factors;
            for _ in 0..times {
                gradus::cpu::gemm_rows(sizes, black_box(&mut c), black_box(a), b, true);
            }
            Ok(())
        };
        Ok(Contestant {
            name: "bare gemm".into(),
            run: Box::new(run),
        })
    }

    /// The product on a device; run once, and the result checked.
    fn on(self, device: &Device) -> Result<Contestant<'static>> {
        let factors = self.factors();
        let mut planned = Planned::new(device, &factors, |scope| {
            let factor = |name, is_transposed, rows, cols| {
                let dims = if is_transposed {
                    [self.batch, cols, rows]
                } else {
                    [self.batch, rows, cols]
                };
                let dims = if self.batch == 1 { &dims[1..] } else { &dims };
                let stored = scope.param(name, dims, Zeros);
                if is_transposed {
                    stored.transpose()
                } else {
                    stored
                }
            };
            let a = factor("a", self.layout == Layout::Tn, self.m, self.k);
            a.matmul(factor("b", self.layout == Layout::Nt, self.k, self.n))
        })?;
        planned.run(1)?;
        self.check(&factors, &planned.result(0)?)?;
        Ok(Contestant::planned(machine::short_name(device), planned))
    }
}
