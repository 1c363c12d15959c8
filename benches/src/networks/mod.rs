//! Networks of seeded random weights, built in integers: those that CMSIS-NN was measured on, plain
//! and compressed, and a small one with every operator.

mod architectures;
mod builder;
mod every_operator;
mod listener;
mod weights;

pub use every_operator::{CLASSES, MACS, every_operator};
pub use listener::listener;

use crate::mcu::Core::{self, M0, M3, M4, M55};
use architectures::*;
use builder::Builder;
use compress::encode::{Coding, EncodeError, encode};
use compress::program::Program;
use weights::Weights;

/// A network by name.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    /// Name, after the architecture and what was done to its weights.
    pub name: &'static str,
    /// How its weights may be written.
    pub coding: Coding,
    /// Instructions of CMSIS-NN's int8 kernels for the dense network, where they were counted: on M0, M3 and M4
    /// by gcc 12.2 -O3 on the same emulator, second inference; on M55 by clang 19, of which fewer come out
    /// than of gcc, to two or three digits.
    cmsis_nn: &'static [(Core, u64)],
    build: fn(&mut Builder) -> usize,
    weights: Weights,
}

impl Network {
    /// Its image.
    ///
    /// # Errors
    /// When the network is beyond what an image can hold, which none of these is.
    pub fn image(&self) -> Result<Vec<u8>, EncodeError> {
        encode(&self.program(), self.coding).map(|encoded| encoded.bytes)
    }

    /// Its dense multiply-accumulates.
    pub fn macs(&self) -> u64 {
        self.program().macs
    }

    fn program(&self) -> Program {
        let mut builder = Builder::new(self.weights);
        let output = (self.build)(&mut builder);
        builder.finish(output)
    }

    /// CMSIS-NN's instructions, where they were counted.
    pub fn cmsis_nn_on(&self, core: Core) -> Option<u64> {
        let counted = self.cmsis_nn.iter().find(|(on, _)| *on == core);
        counted.map(|&(_, instructions)| instructions)
    }

    const fn plain(
        name: &'static str,
        build: fn(&mut Builder) -> usize,
        cmsis_nn: &'static [(Core, u64)],
    ) -> Self {
        Self {
            name,
            coding: Coding::Plain,
            cmsis_nn,
            build,
            weights: Weights::Any,
        }
    }

    /// With so many weights in a hundred left.
    const fn sparse(self, name: &'static str, percent: u32) -> Self {
        Self {
            name,
            coding: Coding::Huffman,
            weights: Weights::Sparse(percent),
            ..self
        }
    }
}

/// The networks to compare with CMSIS-NN.
pub const NETWORKS: [Network; 12] = [
    Network::plain(
        "dense-784-300",
        dense,
        &[(M0, 1_440_217), (M3, 795_124), (M4, 455_927), (M55, 40_000)],
    ),
    LENET_300_100,
    LENET_300_100.sparse("lenet-300-100-sparse", 3),
    Network::plain("conv5-1-20", first_conv, &[(M4, 1_675_232)]),
    Network::plain("conv5-20-50", second_conv, &[(M4, 2_905_678)]),
    LENET_5,
    LENET_5.sparse("lenet-5-sparse", 2),
    Network::plain(
        "lstm",
        lstm,
        &[
            (M0, 6_107_597),
            (M3, 2_900_249),
            (M4, 2_230_681),
            (M55, 560_000),
        ],
    ),
    Network::plain(
        "kws",
        keywords,
        &[
            (M0, 29_000_188),
            (M3, 10_541_567),
            (M4, 7_841_511),
            (M55, 1_750_000),
        ],
    ),
    Network::plain(
        "resnet8",
        resnet_8,
        &[
            (M0, 97_563_845),
            (M3, 41_753_194),
            (M4, 29_869_273),
            (M55, 4_570_000),
        ],
    ),
    Network::plain(
        "ad",
        autoencoder,
        &[(M0, 1_758_641), (M3, 952_829), (M4, 579_251), (M55, 62_000)],
    ),
    Network::plain(
        "vww",
        mobilenet,
        &[
            (M0, 86_864_953),
            (M3, 32_073_657),
            (M4, 24_710_725),
            (M55, 6_250_000),
        ],
    ),
];

const LENET_300_100: Network = Network::plain(
    "lenet-300-100",
    lenet_300_100,
    &[(M0, 1_638_245), (M3, 903_898), (M4, 519_855), (M55, 47_000)],
);

const LENET_5: Network = Network::plain(
    "lenet-5",
    lenet_5,
    &[
        (M0, 17_053_199),
        (M3, 7_759_367),
        (M4, 5_515_574),
        (M55, 1_010_000),
    ],
);

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use super::*;
    use crate::mcu::Inputs;
    use edge_runtime::Session;
    use no_std_core::Model;

    /// Saturated or constant outputs would hide differences between the device and the host.
    #[test]
    fn outputs_are_spread() {
        for network in NETWORKS {
            let image = network.image().expect("within bounds");
            let model = Model::parse(&image).expect("just encoded");
            let mut arena = vec![0; model.arena_bytes()];
            let mut session = Session::new(&model, &mut arena).expect("long enough");
            let inputs = Inputs::random(&model, 1, 5);
            session
                .input_mut()
                .copy_from_slice(inputs.iter().next().expect("one"));
            session.run();
            let output = session.output();
            let inside = output.iter().filter(|&&q| q > -128 && q < 127).count();
            assert!(inside * 2 > output.len(), "{}: {output:?}", network.name);
            assert!(output.iter().any(|q| q != &output[0]), "{}", network.name);
        }
    }

    /// Those of the published architectures.
    #[test]
    fn networks_have_their_macs() {
        let published = [
            ("dense-784-300", 235_200),
            ("lenet-300-100", 266_200),
            ("lenet-300-100-sparse", 266_200),
            ("conv5-1-20", 288_000),
            ("conv5-20-50", 1_600_000),
            ("lenet-5", 2_293_000),
            ("lenet-5-sparse", 2_293_000),
            ("lstm", 659_456),
            ("kws", 2_656_768),
            ("resnet8", 12_501_632),
            ("ad", 264_192),
            ("vww", 7_489_664),
        ];
        let built = NETWORKS.map(|network| {
            let image = network.image().expect("within bounds");
            (
                network.name,
                Model::parse(&image).expect("just encoded").macs(),
            )
        });
        assert_eq!(built, published);
    }
}
