//! Operators of convolutional networks: fused against composite, composite against finite
//! differences, running statistics.

use candle_core::{DType, Device, Result, Tensor};
use vit_kernels::{
    BatchNormOptions, BatchNormParams, Conv2dOptions, ConvNorm, DenseLayer, ResidualBlock,
    avg_pool2d, batch_norm, composite, conv_norm_pool, conv2d, dense_block, global_avg_pool,
    max_pool2d, residual_blocks, transition,
};

use crate::support::{check_gradient, distance, flat, tensor};
use crate::twins::Case;

const EVAL: BatchNormOptions = BatchNormOptions { eps: 1e-5, momentum: 0.1, train: false };
const TRAIN: BatchNormOptions = BatchNormOptions { train: true, ..EVAL };

/// Shapes of pictures and weights, stride, padding, dilation.
const CONVOLUTIONS: [([usize; 4], [usize; 4], [usize; 3]); 14] = [
    ([1, 1, 1, 1], [1, 1, 1, 1], [1, 0, 1]),
    ([2, 5, 7, 3], [4, 3, 1, 1], [1, 0, 1]),
    ([2, 5, 7, 3], [4, 3, 1, 1], [2, 0, 1]),
    ([2, 6, 4, 3], [4, 3, 1, 1], [2, 0, 1]),
    ([2, 6, 5, 3], [5, 3, 3, 3], [1, 1, 1]),
    ([2, 6, 5, 3], [5, 3, 3, 3], [2, 1, 1]),
    ([1, 7, 9, 2], [3, 2, 3, 2], [3, 2, 1]),
    ([1, 9, 8, 2], [3, 2, 3, 3], [1, 2, 2]),
    ([2, 17, 13, 1], [6, 1, 7, 7], [2, 3, 1]),
    ([3, 4, 4, 33], [40, 33, 3, 3], [1, 1, 1]),
    ([1, 3, 3, 512], [33, 512, 1, 1], [1, 0, 1]),
    ([3, 14, 14, 8], [70, 8, 3, 3], [1, 1, 1]),
    ([1, 2, 2, 3], [2, 3, 3, 3], [1, 3, 1]),
    ([0, 4, 4, 3], [2, 3, 3, 3], [1, 1, 1]),
];

#[test]
fn convolutions() {
    for (x, weight, [stride, padding, dilation]) in CONVOLUTIONS {
        // candle has no convolution of nothing; ours has.
        if x[0] == 0 {
            continue;
        }
        let options = Conv2dOptions { stride, padding, dilation };
        let inputs = [tensor(&x, 1.), tensor(&weight, 2.), tensor(&weight[..1], 3.)];
        Case::new(
            format!("conv2d {x:?} {weight:?} {options:?}"),
            &inputs,
            move |t| conv2d(&t[0], &t[1], Some(&t[2]), options),
            move |t| composite::conv2d(&t[0], &t[1], Some(&t[2]), options),
        )
        .check(1e-5);
        Case::new(
            format!("conv2d {x:?} {weight:?} {options:?} without a bias"),
            &inputs[..2],
            move |t| conv2d(&t[0], &t[1], None, options),
            move |t| composite::conv2d(&t[0], &t[1], None, options),
        )
        .check(1e-5);
    }
}

#[test]
fn convolutions_of_nothing_and_of_views() {
    let f32s = |shape: &[usize]| tensor(shape, 1.).to_dtype(DType::F32).unwrap();
    let y = conv2d(&f32s(&[0, 4, 4, 3]), &f32s(&[2, 3, 3, 3]), None, Conv2dOptions::default());
    assert_eq!(y.unwrap().dims(), [0, 2, 2, 2]);
    let planes = [tensor(&[2, 3, 6, 5], 1.), tensor(&[3, 4, 3, 3], 2.)];
    let same = Conv2dOptions { padding: 1, ..Conv2dOptions::default() };
    Case::new(
        "conv2d of views".into(),
        &planes,
        move |t| conv2d(&t[0].permute((0, 2, 3, 1))?, &t[1].transpose(0, 1)?, None, same),
        move |t| composite::conv2d(&t[0].permute((0, 2, 3, 1))?, &t[1].t_weight()?, None, same),
    )
    .check(1e-5);
}

trait Transposed {
    fn t_weight(&self) -> Result<Tensor>;
}

impl Transposed for Tensor {
    fn t_weight(&self) -> Result<Tensor> {
        self.transpose(0, 1)?.contiguous()
    }
}

#[test]
fn convolutions_against_differences() {
    for (x, weight, [stride, padding, dilation]) in CONVOLUTIONS {
        if x[0] == 0 || weight.iter().product::<usize>() > 2000 {
            continue;
        }
        let options = Conv2dOptions { stride, padding, dilation };
        let inputs = [tensor(&x, 1.), tensor(&weight, 2.)];
        let what = format!("conv2d {x:?} {weight:?} {options:?}");
        check_gradient(&what, &inputs, |t| conv2d(&t[0], &t[1], None, options), 1e-9);
    }
}

fn params([weight, bias, running_mean, running_var]: &[Tensor; 4]) -> BatchNormParams<'_> {
    BatchNormParams { weight, bias, running_mean, running_var }
}

/// Batch norm's four tensors; the running ones are copies, since training changes them.
struct Norm([Tensor; 4]);

impl Norm {
    fn new(t: &[Tensor]) -> Result<Self> {
        let (mean, variance) = (t[0].detach(), t[0].detach());
        Ok(Self([t[0].clone(), t[1].clone(), (mean * 0.3)?, (variance.sqr()? + 0.5)?]))
    }

    fn params(&self) -> BatchNormParams<'_> {
        params(&self.0)
    }
}

#[test]
fn batch_norms() {
    for shape in [&[3usize, 5][..], &[2, 4, 3, 7], &[300, 33], &[2, 1, 1, 1]] {
        for (options, relu) in [(EVAL, false), (TRAIN, false), (EVAL, true), (TRAIN, true)] {
            let channels = &shape[shape.len() - 1..];
            let x = (tensor(shape, 1.) * 2.).unwrap();
            let inputs = [x, tensor(channels, 2.), tensor(channels, 3.)];
            Case::new(
                format!("batch norm {shape:?} {options:?} {relu}"),
                &inputs,
                move |t| batch_norm(&t[0], &Norm::new(&t[1..])?.params(), &options, relu),
                move |t| {
                    composite::batch_norm(&t[0], &Norm::new(&t[1..])?.params(), &options, relu)
                },
            )
            .check(1e-5);
        }
    }
}

/// The statistics do not lose their digits to a large mean.
#[test]
fn batch_norm_of_a_large_mean() {
    let x = (tensor(&[64, 3], 1.) + 30.).unwrap();
    let inputs = [x, tensor(&[3], 2.), tensor(&[3], 3.)];
    Case::new(
        "batch norm of a large mean".into(),
        &inputs,
        |t| batch_norm(&t[0], &Norm::new(&t[1..])?.params(), &TRAIN, false),
        |t| composite::batch_norm(&t[0], &Norm::new(&t[1..])?.params(), &TRAIN, false),
    )
    .check(1e-5);
}

#[test]
fn batch_norms_against_differences() {
    for options in [EVAL, TRAIN] {
        let inputs = [tensor(&[6, 4], 1.), tensor(&[4], 2.), tensor(&[4], 3.)];
        // The running statistics must not follow the weight that is moved.
        let running = Norm::new(&inputs[1..]).unwrap().0;
        let norm = |t: &[Tensor]| {
            let (mean, variance) = (running[2].copy()?, running[3].copy()?);
            let params = BatchNormParams {
                weight: &t[1],
                bias: &t[2],
                running_mean: &mean,
                running_var: &variance,
            };
            batch_norm(&t[0], &params, &options, false)
        };
        check_gradient(&format!("batch norm {options:?}"), &inputs, norm, 1e-8);
    }
}

#[test]
fn running_statistics_are_changed_in_place_and_only_in_training() {
    for dtype in [DType::F32, DType::F64] {
        let x = tensor(&[10, 3], 1.).to_dtype(dtype).unwrap();
        let ones = Tensor::ones(3, dtype, &Device::Cpu).unwrap();
        let (mean, variance) = (ones.zeros_like().unwrap(), ones.copy().unwrap());
        let shared = (mean.clone(), variance.clone());
        let params = BatchNormParams {
            weight: &ones,
            bias: &ones,
            running_mean: &mean,
            running_var: &variance,
        };
        batch_norm(&x, &params, &EVAL, false).unwrap();
        assert_eq!(flat(&shared.0), [0.; 3]);
        batch_norm(&x, &params, &TRAIN, false).unwrap();
        let rows = flat(&x);
        for channel in 0..3 {
            let values: Vec<f64> = rows.iter().skip(channel).step_by(3).copied().collect();
            let average = values.iter().sum::<f64>() / 10.;
            let squares = values.iter().map(|v| (v - average).powi(2)).sum::<f64>();
            let got = (flat(&shared.0)[channel], flat(&shared.1)[channel]);
            assert!((got.0 - 0.1 * average).abs() < 1e-6, "{dtype:?}: {got:?}");
            assert!((got.1 - (0.9 + 0.1 * squares / 9.)).abs() < 1e-6, "{dtype:?}: {got:?}");
        }
    }
}

/// A batch that is left out must not stay in the running statistics; a channel alone is enough.
#[test]
fn running_statistics_stay_as_they_were_where_the_batch_has_none() {
    for dtype in [DType::F32, DType::F64] {
        for bad in [f64::NAN, f64::INFINITY] {
            let mut values = flat(&tensor(&[10, 3], 1.));
            values[16] = bad;
            let x = Tensor::from_vec(values, (10, 3), &Device::Cpu).unwrap();
            let x = x.to_dtype(dtype).unwrap();
            let ones = Tensor::ones(3, dtype, &Device::Cpu).unwrap();
            let (mean, variance) = (ones.zeros_like().unwrap(), ones.copy().unwrap());
            let params = BatchNormParams {
                weight: &ones,
                bias: &ones,
                running_mean: &mean,
                running_var: &variance,
            };
            let y = batch_norm(&x, &params, &TRAIN, false).unwrap();
            assert!(flat(&y).iter().any(|y| y.is_nan()), "the loss must tell");
            assert_eq!((flat(&mean), flat(&variance)), (vec![0.; 3], vec![1.; 3]), "{dtype:?}");
        }
    }
}

#[test]
fn pools() {
    for (shape, window, stride, padding) in [
        ([1usize, 1, 1, 1], 1, 1, 0),
        ([2, 7, 6, 3], 3, 2, 1),
        ([2, 5, 8, 40], 2, 2, 0),
        ([1, 6, 7, 2], 3, 1, 1),
    ] {
        // No two values are so close that a small step changes which is larger.
        let count: usize = shape.iter().product();
        let values: Vec<f64> = (0..count).map(|i| ((i * 37) % 1009) as f64 * 0.01).collect();
        let x = [Tensor::from_vec(values, &shape, &Device::Cpu).unwrap()];
        Case::new(
            format!("max pool {shape:?} {window} {stride} {padding}"),
            &x,
            move |t| max_pool2d(&t[0], window, stride, padding),
            move |t| composite::max_pool2d(&t[0], window, stride, padding),
        )
        .check(1e-6);
        Case::new(
            format!("average pool {shape:?} {window} {stride}"),
            &x,
            move |t| avg_pool2d(&t[0], window, stride),
            move |t| composite::avg_pool2d(&t[0], window, stride),
        )
        .check(1e-6);
        let max = |t: &[Tensor]| max_pool2d(&t[0], window, stride, padding);
        check_gradient("max pool", &x, max, 1e-9);
        check_gradient("average pool", &x, |t| avg_pool2d(&t[0], window, stride), 1e-9);
        check_gradient("global average pool", &x, |t| global_avg_pool(&t[0]), 1e-9);
    }
}

/// As PyTorch: the first of equal values gets all of the gradient.
#[test]
fn max_pool_of_ties() {
    for dtype in [DType::F32, DType::F64] {
        let x = Tensor::ones((1, 2, 2, 1), dtype, &Device::Cpu).unwrap();
        let x = candle_core::Var::from_tensor(&x).unwrap();
        let grads = max_pool2d(&x, 2, 2, 0).unwrap().sum_all().unwrap().backward().unwrap();
        assert_eq!(flat(grads.get(&x).unwrap()), [1., 0., 0., 0.], "{dtype:?}");
    }
}

/// A weight and the tensors of its norm, in the order of the cases' inputs.
fn conv_norm_inputs(shape: [usize; 4], phase: f64) -> [Tensor; 3] {
    let scale = 1. / (shape[1] * shape[2] * shape[3]) as f64;
    let weight = (tensor(&shape, phase) * scale.sqrt()).unwrap();
    [weight, tensor(&shape[..1], phase + 0.3), tensor(&shape[..1], phase + 0.6)]
}

#[test]
fn stems() {
    for options in [EVAL, TRAIN] {
        let mut inputs = vec![tensor(&[2, 19, 17, 2], 1.)];
        inputs.extend(conv_norm_inputs([9, 2, 7, 7], 2.));
        let conv = Conv2dOptions { stride: 2, padding: 3, dilation: 1 };
        type Stem =
            fn(&Tensor, &ConvNorm<'_>, (usize, usize, usize), &BatchNormOptions) -> Result<Tensor>;
        let run = move |f: Stem| {
            move |t: &[Tensor]| {
                let norm = Norm::new(&t[2..])?;
                let layer = ConvNorm { weight: &t[1], norm: norm.params(), conv };
                f(&t[0], &layer, (3, 2, 1), &options)
            }
        };
        let name = format!("convolution, norm and pool {options:?}");
        Case::new(name, &inputs, run(conv_norm_pool), run(composite::conv_norm_pool)).check(1e-5);
    }
}

type Blocks = fn(&Tensor, &[ResidualBlock<'_>], &BatchNormOptions) -> Result<Tensor>;

/// Two blocks: a bottleneck with a shortcut and stride, then a plain one with two convolutions.
fn two_blocks(f: Blocks, t: &[Tensor], options: &BatchNormOptions) -> Result<Tensor> {
    let norms = t[1..].chunks(3).map(|t| Norm::new(&t[1..])).collect::<Result<Vec<_>>>()?;
    let layer = |i: usize, stride: usize| {
        let weight = &t[1 + 3 * i];
        let conv = Conv2dOptions { stride, padding: weight.dims()[2] / 2, dilation: 1 };
        ConvNorm { weight, norm: norms[i].params(), conv }
    };
    let blocks = [
        ResidualBlock {
            layers: vec![layer(0, 1), layer(1, 2), layer(2, 1)],
            shortcut: Some(layer(3, 2)),
        },
        ResidualBlock { layers: vec![layer(4, 1), layer(5, 1)], shortcut: None },
    ];
    f(&t[0], &blocks, options)
}

#[test]
fn residuals() {
    for options in [EVAL, TRAIN] {
        let mut inputs = vec![tensor(&[2, 7, 6, 6], 1.)];
        let shapes = [
            [4, 6, 1, 1],
            [4, 4, 3, 3],
            [10, 4, 1, 1],
            [10, 6, 1, 1],
            [4, 10, 3, 3],
            [10, 4, 3, 3],
        ];
        for (i, shape) in shapes.into_iter().enumerate() {
            inputs.extend(conv_norm_inputs(shape, 2. + i as f64));
        }
        Case::new(
            format!("residual blocks {options:?}"),
            &inputs,
            move |t| two_blocks(residual_blocks, t, &options),
            move |t| two_blocks(composite::residual_blocks, t, &options),
        )
        .check(1e-5);
    }
}

type Dense = fn(&Tensor, &[DenseLayer<'_>], &BatchNormOptions) -> Result<Tensor>;

fn dense(f: Dense, t: &[Tensor], options: &BatchNormOptions) -> Result<Tensor> {
    let norms = t[1..]
        .chunks(6)
        .map(|t| Ok([Norm::new(&t[..2])?, Norm::new(&t[3..5])?]))
        .collect::<Result<Vec<_>>>()?;
    let layers: Vec<DenseLayer> = t[1..]
        .chunks(6)
        .zip(&norms)
        .map(|(t, [norm1, norm2])| DenseLayer {
            norm1: norm1.params(),
            conv1: &t[2],
            norm2: norm2.params(),
            conv2: &t[5],
        })
        .collect();
    f(&t[0], &layers, options)
}

#[test]
fn dense_blocks() {
    for options in [EVAL, TRAIN] {
        let (channels, hidden, growth) = (5, 8, 3);
        let mut inputs = vec![tensor(&[2, 5, 6, channels], 1.)];
        for i in 0..3 {
            let (before, phase) = (channels + i * growth, 2. + 3. * i as f64);
            let [conv1, ..] = conv_norm_inputs([hidden, before, 1, 1], phase);
            let [conv2, weight, bias] = conv_norm_inputs([hidden, growth, 3, 3], phase + 1.);
            inputs.extend([tensor(&[before], phase), tensor(&[before], phase + 0.5), conv1]);
            inputs.extend([weight, bias, conv2.transpose(0, 1).unwrap().contiguous().unwrap()]);
        }
        Case::new(
            format!("dense block {options:?}"),
            &inputs,
            move |t| dense(dense_block, t, &options),
            move |t| dense(composite::dense_block, t, &options),
        )
        .check(1e-5);
        let inputs = [
            tensor(&[2, 5, 6, 4], 1.),
            tensor(&[3, 4, 1, 1], 2.),
            tensor(&[4], 3.),
            tensor(&[4], 4.),
        ];
        Case::new(
            format!("transition {options:?}"),
            &inputs,
            move |t| transition(&t[0], &Norm::new(&t[2..])?.params(), &t[1], &options),
            move |t| composite::transition(&t[0], &Norm::new(&t[2..])?.params(), &t[1], &options),
        )
        .check(1e-5);
    }
}

/// The running statistics of a fused operator are those of its twin.
#[test]
fn running_statistics_of_blocks() {
    let run = |f: Dense, dtype: DType| {
        let make = |shape: &[usize], phase: f64| tensor(shape, phase).to_dtype(dtype).unwrap();
        let x = make(&[2, 4, 4, 5], 1.);
        let tensors = |channels: usize| [0.5, 1., 1.5, 2.].map(|phase| make(&[channels], phase));
        let (first, second) = (tensors(5), tensors(6));
        let (conv1, conv2) = (make(&[6, 5, 1, 1], 2.), make(&[3, 6, 3, 3], 3.));
        let layer = DenseLayer {
            norm1: params(&first),
            conv1: &conv1,
            norm2: params(&second),
            conv2: &conv2,
        };
        f(&x, &[layer], &TRAIN).unwrap();
        [&first[2], &first[3], &second[2], &second[3]].map(flat).concat()
    };
    let fused = run(dense_block, DType::F32);
    let twin = run(composite::dense_block, DType::F64);
    assert!(distance(&fused, &twin) < 1e-5);
}

#[test]
fn what_does_not_fit_is_named() {
    let t = |shape: &[usize]| tensor(shape, 1.).to_dtype(DType::F32).unwrap();
    let one = Conv2dOptions::default();
    let (x, norm) = (t(&[1, 4, 4, 3]), Norm::new(&[t(&[3]), t(&[3])]).unwrap());
    let wrong = Norm::new(&[t(&[2]), t(&[2])]).unwrap();
    let nothing = Norm::new(&[t(&[0]), t(&[0])]).unwrap();
    let (some, none) = (t(&[3, 3, 1, 1]), t(&[0, 3, 1, 1]));
    let (narrow, empty) = (t(&[3, 0, 3, 3]), t(&[0, 3, 3, 3]));
    let layer = |conv1, norm2, conv2| DenseLayer { norm1: norm.params(), conv1, norm2, conv2 };
    for (error, part) in [
        (conv2d(&x, &t(&[2, 4, 1, 1]), None, one), "[2, 4, 1, 1]"),
        (conv2d(&x, &t(&[2, 3, 5, 5]), None, one), "does not fit"),
        (conv2d(&x, &t(&[2, 3, 1, 1]), Some(&t(&[3])), one), "bias [3]"),
        (conv2d(&x, &t(&[2, 3, 1, 1]), None, Conv2dOptions { stride: 0, ..one }), "stride 0"),
        (batch_norm(&x, &wrong.params(), &EVAL, false), "[2] for 3 channels"),
        (batch_norm(&t(&[1, 3]), &norm.params(), &TRAIN, false), "no variance"),
        (max_pool2d(&x, 5, 1, 0), "do not fit"),
        (max_pool2d(&x, 2, 1, 2), "border of 2"),
        (avg_pool2d(&x, 0, 1), "windows of 0"),
        (residual_blocks(&x, &[], &EVAL), "there is none"),
        (dense_block(&x, &[], &EVAL), "no layer"),
        (conv2d(&x, &none, None, one), "3 channels to 0"),
        (dense_block(&x, &[layer(&some, norm.params(), &empty)], &TRAIN), "3 channels to 0"),
        (dense_block(&x, &[layer(&none, nothing.params(), &narrow)], &TRAIN), "3 channels to 0"),
        (transition(&x, &norm.params(), &t(&[2, 3, 3, 3]), &EVAL), "not 1x1"),
    ] {
        let error = error.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}
