//! One source for every instruction set.

/// Declares a function whose body is compiled for AVX-512, AVX2 with FMA, NEON and without any of
/// them; the best that the processor has is taken at run time.
///
/// `S` is the instruction set in the body: what it calls must be `#[inline(always)]` and generic
/// over it, so that it is compiled with the same instructions.
macro_rules! simd_fn {
    (
        $(#[$meta:meta])*
        $vis:vis fn $name:ident<$lt:lifetime, $S:ident>($($arg:ident: $ty:ty),* $(,)?) -> $out:ty
        $body:block
    ) => {
        $(#[$meta])*
        $vis fn $name<$lt>($($arg: $ty),*) -> $out {
            struct Call<$lt> {
                $($arg: $ty,)*
                lifetime: std::marker::PhantomData<&$lt ()>,
            }
            impl<$lt> pulp::WithSimd for Call<$lt> {
                type Output = $out;

                #[inline(always)]
                fn with_simd<$S: pulp::Simd>(self, _: $S) -> $out {
                    let Self { $($arg,)* lifetime: _ } = self;
                    $body
                }
            }
            pulp::Arch::new().dispatch(Call { $($arg,)* lifetime: std::marker::PhantomData })
        }
    };
}

pub(crate) use simd_fn;
