//! Order of values in patches.

use candle_core::{DType, Device, Tensor};
use vit_kernels::{
    PatchOrder, TokenRows, composite, gather_tokens, patchify, patchify_rows, unpatchify,
};

use crate::support::{flat, tensor};

/// A picture of 2 channels, 2 rows and 4 columns: value `100·channel + 10·row + column`.
fn picture() -> Tensor {
    let values: Vec<f64> =
        (0..16).map(|i| f64::from(100 * (i / 8) + 10 * (i / 4 % 2) + i % 4)).collect();
    Tensor::from_vec(values, (1, 2, 2, 4), &Device::Cpu).unwrap()
}

#[test]
fn channel_first_is_the_order_of_a_convolution() {
    let got = patchify(&picture(), 2, PatchOrder::ChannelFirst).unwrap();
    let want =
        [[[0., 1., 10., 11., 100., 101., 110., 111.], [2., 3., 12., 13., 102., 103., 112., 113.]]];
    assert_eq!(got.to_vec3::<f64>().unwrap(), want);
}

#[test]
fn channel_last_is_the_order_of_the_mae_target() {
    let got = patchify(&picture(), 2, PatchOrder::ChannelLast).unwrap();
    let want =
        [[[0., 100., 1., 101., 10., 110., 11., 111.], [2., 102., 3., 103., 12., 112., 13., 113.]]];
    assert_eq!(got.to_vec3::<f64>().unwrap(), want);
}

#[test]
fn unpatchify_is_the_inverse() {
    for order in [PatchOrder::ChannelFirst, PatchOrder::ChannelLast] {
        for (shape, patch) in
            [([1, 1, 1, 1], 1), ([1, 3, 5, 5], 5), ([2, 3, 4, 6], 2), ([1, 4, 9, 3], 3)]
        {
            let images = tensor(&shape, 1.);
            let grid = (shape[2] / patch, shape[3] / patch);
            let tokens = patchify(&images, patch, order).unwrap();
            assert_eq!(tokens.dims(), [shape[0], grid.0 * grid.1, shape[1] * patch * patch]);
            let back = unpatchify(&tokens, patch, grid, order).unwrap();
            assert_eq!(back.dims(), shape);
            assert_eq!(flat(&back), flat(&images), "{shape:?} {order:?}");
            let again = patchify(&back, patch, order).unwrap();
            assert_eq!(flat(&again), flat(&tokens), "{shape:?} {order:?}");
        }
    }
}

/// The copying path (f32 on the CPU without gradients) against candle's permutation.
#[test]
fn fused_patches_are_the_composite_ones() {
    for order in [PatchOrder::ChannelFirst, PatchOrder::ChannelLast] {
        for (shape, patch) in
            [([1, 1, 1, 1], 1), ([1, 3, 5, 5], 5), ([2, 3, 4, 6], 2), ([3, 4, 9, 3], 3)]
        {
            let images = tensor(&shape, 1.).to_dtype(DType::F32).unwrap();
            let grid = (shape[0], shape[1], shape[2] / patch, shape[3] / patch);
            let want = composite::patchify(&images, patch, order, grid).unwrap();
            let got = patchify(&images, patch, order).unwrap();
            assert_eq!(got.dims(), want.dims());
            assert_eq!(flat(&got), flat(&want), "{shape:?} {order:?}");
            let count = (grid.2 * grid.3) as u32;
            let picks: Vec<u32> = (0..grid.0 as u32 * 2).map(|i| (i * 5 + 1) % count).collect();
            let rows = TokenRows::new(&picks, grid.0, count as usize).unwrap();
            let want = gather_tokens(&want, &rows).unwrap();
            let got = patchify_rows(&images, patch, order, &rows).unwrap();
            assert_eq!(flat(&got), flat(&want), "{shape:?} {order:?}");
        }
        let none = Tensor::zeros((0, 3, 4, 4), DType::F32, &Device::Cpu).unwrap();
        assert_eq!(patchify(&none, 2, order).unwrap().dims(), [0, 4, 12]);
    }
}

/// A convolution whose kernel equals its stride is the product with the flattened weight.
#[test]
fn patch_embedding_is_the_convolution() {
    let (images, weight) = (tensor(&[2, 3, 8, 12], 1.), tensor(&[5, 3, 4, 4], 2.));
    let tokens = patchify(&images, 4, PatchOrder::ChannelFirst).unwrap();
    let got = vit_kernels::linear(&tokens, &weight.reshape((5, 48)).unwrap(), None).unwrap();
    let conv = images.conv2d(&weight, 0, 4, 1, 1).unwrap();
    let want = conv.flatten_from(2).unwrap().transpose(1, 2).unwrap();
    assert_eq!(got.dims(), want.dims());
    assert!(crate::support::distance(&flat(&got), &flat(&want)) < 1e-12);
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let order = PatchOrder::ChannelLast;
    for patch in [0, 3, 5] {
        assert!(patchify(&tensor(&[1, 1, 4, 8], 1.), patch, order).is_err(), "patch {patch}");
    }
    assert!(patchify(&tensor(&[1, 4, 8], 1.), 2, order).is_err());
    let tokens = tensor(&[1, 6, 12], 1.);
    for (patch, grid) in [(2, (2, 2)), (3, (2, 3)), (0, (2, 3)), (2, (6, 6))] {
        assert!(unpatchify(&tokens, patch, grid, order).is_err(), "{patch} {grid:?}");
    }
}
