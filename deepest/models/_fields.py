"""Models of many variables: two scales of waves, and fields on periodic grids."""

import math
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from deepest.models._lorenz import Lorenz96
from deepest.models._unknown import as_parameter

Parameter = Any


class TwoScaleLorenz96(eqx.Module):
    """Slow waves X (K,) on a latitude circle, and fast ones Y (K·J,), J of them at every slow site.

        dX_k/dt = X_{k−1} (X_{k+1} − X_{k−2}) − X_k + f − (h c/b) Σ_{j at k} Y_j
        dY_j/dt = c b Y_{j+1} (Y_{j−1} − Y_{j+2}) − c Y_j + (h c/b) X_{k(j)}

    State (K + K·J,): X, then Y along the circle; dimensionless, a time unit about five days. `forcing` f, `coupling` h,
    `speed` c and `amplitude` b are numbers or `Unknown`s. Raises `ValueError` for fewer than four sites of either kind.
    Source: [lorenz2006].
    """

    sites: int = eqx.field(static=True, default=8)
    fast: int = eqx.field(static=True, default=8)
    forcing: Parameter = eqx.field(converter=as_parameter, default=10.0)
    coupling: Parameter = eqx.field(converter=as_parameter, default=1.0)
    speed: Parameter = eqx.field(converter=as_parameter, default=10.0)
    amplitude: Parameter = eqx.field(converter=as_parameter, default=10.0)

    def __check_init__(self):
        if self.sites < 4 or self.sites * self.fast < 4:
            raise ValueError(
                f"Both circles need at least four sites; received sites={self.sites} and fast={self.fast}."
            )

    @property
    def dimension(self) -> int:
        """K + K·J."""
        return self.sites * (1 + self.fast)

    def __call__(self, t: Float[Array, ""], x: Float[Array, " state"], args: Any) -> Float[Array, " state"]:
        slow, fast = x[: self.sites], x[self.sites :]
        exchange = self.coupling * self.speed / self.amplitude
        pull = jnp.sum(fast.reshape(self.sites, self.fast), axis=1)
        waves = Lorenz96(self.sites, self.forcing)(t, slow, args) - exchange * pull
        ripples = self.amplitude * jnp.roll(fast, -1) * (jnp.roll(fast, 1) - jnp.roll(fast, -2)) - fast
        return jnp.concatenate([waves, self.speed * ripples + exchange * jnp.repeat(slow, self.fast)])


class KuramotoSivashinsky(eqx.Module):
    """∂u/∂t = −½ ∂(u²)/∂x − ∂²u/∂x² − ν ∂⁴u/∂x⁴ on a circle, pseudo-spectral, the third of highest waves left out of
    the product.

    State u (dimension,) at evenly spaced places, dimensionless; `length` L of the circle, chaotic at 22 and above with
    ν = 1; `viscosity` ν is a number or an `Unknown`. Raises `ValueError` for fewer than eight places and for a length
    that is not positive. Source: [kassam2005].
    """

    dimension: int = eqx.field(static=True, default=32)
    length: float = eqx.field(static=True, default=22.0)
    viscosity: Parameter = eqx.field(converter=as_parameter, default=1.0)

    def __check_init__(self):
        _check(8, (self.dimension,), self.length)

    def __call__(self, t: Float[Array, ""], x: Float[Array, " state"], args: Any) -> Float[Array, " state"]:
        del t, args
        count, length = self.dimension, self.length
        slope, two, four = (jnp.asarray(_derivative(count, length, k), x.dtype) for k in (1, 2, 4))
        kept = jnp.asarray(_long_waves(count), x.dtype)
        return -0.5 * slope @ (kept @ x**2) - two @ x - self.viscosity * (four @ x)


class ShallowWater(eqx.Module):
    """Waves of a shallow layer on a periodic line or square, pseudo-spectral.

        ∂η/∂t = −∇·((H + η) u),   ∂u/∂t = −(u·∇) u − f × u − g ∇η − r u + ν ∇²u

    State: the surface η in m at all places, then the velocities in m/s, one field for each direction: `shape` (n,) has
    2n states and (n, m) 3nm, in C order. Time in s. `length` of a side in m; `depth` H in m, `gravity` g in m/s²,
    `rotation` f in 1/s (of a square only), `drag` r in 1/s and `viscosity` ν in m²/s are numbers or `Unknown`s.
    Raises `ValueError` for fewer than four places a side, more than two sides, and a length that is not positive.
    Source: [vallis2017], chapter 3.
    """

    shape: tuple[int, ...] = eqx.field(static=True, default=(32,))
    length: float = eqx.field(static=True, default=1e6)
    depth: Parameter = eqx.field(converter=as_parameter, default=100.0)
    gravity: Parameter = eqx.field(converter=as_parameter, default=9.81)
    rotation: Parameter = eqx.field(converter=as_parameter, default=1e-4)
    drag: Parameter = eqx.field(converter=as_parameter, default=0.0)
    viscosity: Parameter = eqx.field(converter=as_parameter, default=1e4)

    def __check_init__(self):
        _check(4, self.shape, self.length)

    @property
    def dimension(self) -> int:
        """One field for the surface, and one for each direction."""
        return (1 + len(self.shape)) * math.prod(self.shape)

    def __call__(self, t: Float[Array, ""], x: Float[Array, " state"], args: Any) -> Float[Array, " state"]:
        del t, args
        surface, *flow = x.reshape(1 + len(self.shape), *self.shape)
        sides = range(len(self.shape))

        def slope(field, side, order=1):
            matrix = jnp.asarray(_derivative(self.shape[side], self.length, order), x.dtype)
            return jnp.moveaxis(jnp.tensordot(matrix, field, axes=(1, side)), 0, side)

        falls = -sum(slope((self.depth + surface) * flow[side], side) for side in sides)
        rates = []
        for side in sides:
            carried = sum(flow[other] * slope(flow[side], other) for other in sides)
            spread = sum(slope(flow[side], other, 2) for other in sides)
            rate = -carried - self.gravity * slope(surface, side) - self.drag * flow[side] + self.viscosity * spread
            if len(self.shape) == 2:
                turned = flow[1] if side == 0 else -flow[0]
                rate = rate + self.rotation * turned
            rates.append(rate)
        return jnp.stack([falls, *rates]).ravel()


def _check(least: int, shape: tuple[int, ...], length: float) -> None:
    if not 1 <= len(shape) <= 2 or min(shape) < least:
        raise ValueError(f"A field needs at least {least} places a side, on one or two sides; received {shape}.")
    if not length > 0:
        raise ValueError(f"A side has a positive length; received length={length}.")


# The blocks of a path's Hessian are dense in any case, so that derivatives are matrices, which stay real.
def _derivative(count: int, length: float, order: int) -> np.ndarray:
    """∂^order of a trigonometric polynomial through evenly spaced places (count, count); of the shortest wave of an
    even number, which has no odd derivative, zero."""
    factor = (2j * np.pi / length * np.arange(count // 2 + 1)) ** order
    if order % 2 and count % 2 == 0:
        factor[-1] = 0.0
    return _filtered(factor, count)


def _long_waves(count: int) -> np.ndarray:
    """Leaves out the third of highest waves."""
    waves = np.arange(count // 2 + 1)
    return _filtered((waves < count / 3.0).astype(complex), count)


def _filtered(factor: np.ndarray, count: int) -> np.ndarray:
    return np.fft.irfft(factor[:, None] * np.fft.rfft(np.eye(count), axis=0), count, axis=0)
