import keras
import numpy as np
import pytest
from conftest import BACKEND, FOR_VALUES, slow_but
from keras import layers, ops

import nfm_keras as nfm
from nfm_keras.mixing.labels.pairs import LabelMixing

pytestmark = pytest.mark.backends

N, D = 12, 5
QUIET = {"sigma_add": 0.0, "sigma_mult": 0.0}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, D)).astype("float32")
Y = RNG.integers(0, 3, N)
ONE_HOT = np.eye(3, dtype="float32")[Y]
CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy


def network(activation="relu", outputs=3):
    """Two dense layers without bias: easily done again in NumPy."""
    inputs = keras.Input((D,))
    x = nfm.NoisyFeatureMixup(name="site_0")(inputs)
    x = layers.Dense(4, activation=activation, use_bias=False, name="first")(x)
    x = nfm.NoisyFeatureMixup(name="site_1")(x)
    return keras.Model(inputs, layers.Dense(outputs, use_bias=False, name="last")(x))


def compiled_model(model=None, mixing=None, loss=None, jit=None, seed=0, **kwargs):
    model = nfm.NFMModel(model or network(), mixing, seed=seed)
    loss = loss or CROSS_ENTROPY(from_logits=True)
    kwargs.setdefault("optimizer", keras.optimizers.SGD(0.1))
    how = FOR_VALUES if jit is None else {"jit_compile": jit}
    model.compile(loss=loss, **how, **kwargs)
    return model


def weights(model):
    return [np.array(w) for w in model.get_weights()]


def one_batch(model, x=X, y=Y, **kwargs):
    return model.fit(x, y, batch_size=N, epochs=1, shuffle=False, verbose=0, **kwargs)


def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def assert_same(history, other):
    assert history.keys() == other.keys()
    for name in history:
        assert history[name] == pytest.approx(other[name], rel=1e-6), name


def draw_of(model, step=0, batch=N):
    draw = model.mixing.draw(model.seed, step, batch, len(model.site_layers))
    return [ops.convert_to_numpy(v) for v in draw[:3]]


def numpy_step(model, w1, w2, labels):
    """One SGD step of manifold mixup, equation (1), without Keras."""
    site, lam, partner = draw_of(model)

    def mix(a):
        return lam * a + (1 - lam) * a[partner]

    layers_ = model.site_layers
    mixed = layers_[int(site)].name
    x = mix(X) if mixed == "site_0" else X
    hidden = np.maximum(x @ w1, 0)
    g = mix(hidden) if mixed == "site_1" else hidden
    probability, target = softmax(g @ w2), mix(labels)
    loss = -(target * np.log(probability)).sum(1).mean()
    d_logits = (probability - target) / N
    d_g = d_logits @ w2.T
    if mixed == "site_1":  # the transpose of mixing
        back = lam * d_g
        np.add.at(back, partner, (1 - lam) * d_g)
        d_g = back
    d_w1 = x.T @ (d_g * (hidden > 0))
    return loss, w1 - 0.1 * d_w1, w2 - 0.1 * g.T @ d_logits


@pytest.mark.parametrize("one_hot", [False, True], ids=["integer", "one_hot"])
@pytest.mark.parametrize("sites", [("site_0",), ("site_1",)], ids=["mixup", "manifold"])
def test_a_step_is_that_of_the_paper_in_numpy(sites, one_hot, jit):
    loss = keras.losses.CategoricalCrossentropy(from_logits=True) if one_hot else None
    model = compiled_model(None, nfm.Mixing(sites=sites, **QUIET), loss, jit)
    before = [ops.convert_to_numpy(w) for w in model.model.trainable_variables]
    expected = numpy_step(model, *before, ONE_HOT)
    history = one_batch(model, y=ONE_HOT if one_hot else Y).history
    after = [ops.convert_to_numpy(w) for w in model.model.trainable_variables]
    assert history["loss"][0] == pytest.approx(expected[0], rel=1e-5)
    for a, b in zip(after, expected[1:], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.filterwarnings("ignore:The model does not have any trainable")
def test_features_and_labels_share_the_draw(jit):
    """The loss of the identity network on regression is 0 only if they do."""
    inputs = keras.Input((D,))
    identity = keras.Model(inputs, nfm.NoisyFeatureMixup(name="site")(inputs))
    for mixing in (nfm.Mixing(**QUIET), nfm.Mixing(per_sample=True, **QUIET)):
        model = compiled_model(identity, mixing, "mse", jit)
        history = model.fit(X, X, batch_size=5, epochs=3, verbose=0).history
        assert max(history["loss"]) < 1e-12
        wrong = model.fit(X, X[::-1], batch_size=N, epochs=1, verbose=0).history
        assert wrong["loss"][0] > 0.1


def test_erm_is_plain_fit_bit_for_bit(jit):
    erm = nfm.Mixing(alpha=0.0, **QUIET)
    ours, plain = network(), network()
    plain.set_weights(weights(ours))
    model = compiled_model(ours, erm, metrics=["accuracy"], jit=jit)
    plain.compile(
        keras.optimizers.SGD(0.1),
        CROSS_ENTROPY(from_logits=True),
        metrics=["accuracy"],
        jit_compile=jit,
    )
    histories = [
        m.fit(X, Y, batch_size=5, epochs=3, shuffle=False, verbose=0).history
        for m in (model, plain)
    ]
    assert histories[0] == histories[1]
    for a, b in zip(ours.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_input_site_changes_the_input_and_noise_the_loss():
    plain = compiled_model(mixing=nfm.Mixing(alpha=0.0, **QUIET))
    for mixing in (
        nfm.Mixing(sites=("site_0",), **QUIET),
        nfm.Mixing(alpha=0.0, sites=("site_0",)),
    ):
        model = compiled_model(mixing=mixing)
        model.model.set_weights(plain.model.get_weights())
        assert one_batch(model).history["loss"] != one_batch(plain).history["loss"]
        plain.model.set_weights(weights(plain.model))


def test_gradients_reach_the_layers_before_the_site(jit):
    model = compiled_model(mixing=nfm.Mixing(sites=("site_1",)), jit=jit)
    before = weights(model.model)
    one_batch(model)
    assert all(np.abs(a - b).max() > 1e-4 for a, b in zip(before, weights(model.model)))


def test_validation_evaluate_and_predict_never_mix():
    model = compiled_model(mixing=nfm.Mixing(sigma_add=5.0), metrics=["accuracy"])
    history = one_batch(model, validation_data=(X, Y)).history
    assert set(history) == {"loss", "mixed_accuracy", "val_loss", "val_accuracy"}
    loss, accuracy = model.evaluate(X, Y, verbose=0)
    assert history["val_loss"][0] == pytest.approx(loss, rel=1e-5)
    expected = model.classifier.predict(X, verbose=0)
    np.testing.assert_array_equal(model.predict(X, verbose=0), expected)
    assert accuracy == pytest.approx((expected.argmax(1) == Y).mean())
    # Neither does a call by hand, training or not.
    for training in (False, True):
        np.testing.assert_allclose(
            ops.convert_to_numpy(model(X, training=training)), expected, atol=1e-5
        )


def test_mixed_accuracy_is_the_lambda_weighted_one(jit):
    frozen = keras.optimizers.SGD(0.0)
    model = compiled_model(
        mixing=nfm.Mixing(sites=("site_0",), **QUIET),
        metrics=["accuracy"],
        optimizer=frozen,
        jit=jit,
    )
    _, lam, partner = draw_of(model)
    logits = model.classifier.predict(lam * X + (1 - lam) * X[partner], verbose=0)
    right = [(logits.argmax(1) == y).mean() for y in (Y, Y[partner])]
    history = one_batch(model).history
    assert history["mixed_accuracy"][0] == pytest.approx(
        lam * right[0] + (1 - lam) * right[1], abs=1e-5
    )


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum"])
def test_integer_and_one_hot_labels_give_the_same_loss(reduction, per_sample):
    mixing = nfm.Mixing(per_sample=per_sample, **QUIET)
    weight = RNG.random(N).astype("float32")
    losses = []
    for y, kind in (
        (Y, CROSS_ENTROPY),
        (ONE_HOT, keras.losses.CategoricalCrossentropy),
    ):
        keras.utils.set_random_seed(0)
        model = compiled_model(
            None, mixing, kind(from_logits=True, reduction=reduction)
        )
        losses.append(one_batch(model, y=y, sample_weight=weight).history["loss"][0])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_sample_weight_and_class_weight_are_mixed_too():
    weight = RNG.random(N).astype("float32")
    model = compiled_model(None, nfm.Mixing(sites=("site_0",), **QUIET))
    _, lam, partner = draw_of(model)

    def mix(a):
        return lam * a + (1 - lam) * a[partner]

    p = softmax(model.classifier.predict(mix(X), verbose=0))
    ce = -(mix(ONE_HOT) * np.log(p)).sum(1)
    start = weights(model)
    by_sample = one_batch(model, sample_weight=weight).history["loss"][0]
    assert by_sample == pytest.approx((mix(weight) * ce).mean(), rel=1e-4)
    model.set_weights(start)
    model.step.assign(0)  # the same draw again
    by_class = one_batch(model, class_weight={0: 1.0, 1: 3.0, 2: 0.5})
    class_weight = np.array([1.0, 3.0, 0.5])[Y]
    assert by_class.history["loss"][0] == pytest.approx(
        (mix(class_weight) * ce).mean(), rel=1e-4
    )


def test_weights_as_a_column_are_weights():
    weight = RNG.random(N).astype("float32")
    losses = []
    for w in (weight, weight[:, None]):
        keras.utils.set_random_seed(0)
        model = compiled_model(weighted_metrics=["accuracy"])
        losses.append(one_batch(model, sample_weight=w).history)
    assert_same(*losses)
    with pytest.raises(ValueError, match="`sample_weight` must have at most 1 axes"):
        one_batch(compiled_model(), sample_weight=np.ones((N, 2)))


@pytest.mark.parametrize("shape", [(N,), (N, 1)])
def test_class_numbers_may_come_as_floats(shape):
    losses = []
    for dtype in ("int32", "float32"):
        keras.utils.set_random_seed(0)
        y = Y.astype(dtype).reshape(shape)
        losses.append(one_batch(compiled_model(metrics=["accuracy"]), y=y).history)
    assert_same(*losses)


@pytest.mark.parametrize(
    "lengths", [pytest.param([2], marks=pytest.mark.slow), [2, 4, 1]]
)
def test_padded_time_steps_do_not_count(lengths):
    """A sample's own, nor its partner's, whatever they hold, one-hot or not."""
    tokens = RNG.integers(1, 9, (N, 4))
    tokens[np.arange(4) >= np.resize(lengths, N)[:, None]] = 0
    inputs = keras.Input((4,), dtype="int32")
    x = layers.Embedding(9, 5, mask_zero=True)(inputs)
    x = nfm.NoisyFeatureMixup(name="s")(x)
    merged = layers.Add()([x, layers.Dense(5)(x)])  # makes its mask anew
    y = RNG.integers(0, 3, (N, 4))
    one_hot = keras.losses.CategoricalCrossentropy(from_logits=True)
    losses = CROSS_ENTROPY(from_logits=True), one_hot
    for features in (x, merged):
        text = keras.Model(inputs, layers.Dense(3)(features))
        start, histories = text.get_weights(), []
        for padding, loss in zip((0, 2, 2, 0), (*losses, *losses)):
            text.set_weights(start)
            y[tokens == 0] = padding
            given = np.eye(3, dtype="float32")[y] if loss is one_hot else y
            model = compiled_model(text, None, loss, metrics=["accuracy"])
            histories.append(one_batch(model, x=tokens, y=given).history)
        if BACKEND == "jax":  # where Keras' own metrics do not see the mask either
            histories = [{"loss": history["loss"]} for history in histories]
        for history in histories[1:]:
            assert_same(histories[0], history)


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype int64")
def test_metrics_that_flatten_their_arguments_work():
    inputs = keras.Input((4, 4, 1))
    x = nfm.NoisyFeatureMixup(name="site")(inputs)
    unet = keras.Model(inputs, layers.Conv2D(3, 1)(x))
    iou = keras.metrics.MeanIoU(3, sparse_y_pred=False, dtype="float32")
    model = compiled_model(unet, metrics=[iou])
    history = one_batch(
        model, x=RNG.random((N, 4, 4, 1), "float32"), y=RNG.integers(0, 3, (N, 4, 4))
    ).history
    assert 0 < history["mixed_mean_io_u"][0] < 1


def test_several_outputs_of_several_kinds():
    inputs = keras.Input((D,))
    x = nfm.NoisyFeatureMixup(name="site")(inputs)
    outputs = {
        "kind": layers.Dense(3, name="kind")(x),
        "size": layers.Dense(1, name="size")(x),
        "map": layers.Reshape((2, 2, 3), name="map")(layers.Dense(12)(x)),
    }
    sparse = CROSS_ENTROPY(from_logits=True)
    model = compiled_model(
        keras.Model(inputs, outputs),
        nfm.Mixing(per_sample=True, **QUIET),
        {"kind": sparse, "size": "mse", "map": sparse},
        metrics={"kind": ["accuracy"], "map": ["accuracy"]},
        weighted_metrics={"size": ["mae"]},
    )
    y = {"kind": Y, "size": X[:, :1], "map": RNG.integers(0, 3, (N, 2, 2))}
    draw = model.mixing.draw(0, 0, N, 1)
    lam, partner = (ops.convert_to_numpy(v) for v in (draw.lam, draw.partner))
    mixed = lam[:, None] * X + (1 - lam[:, None]) * X[partner]
    p = model.classifier.predict(mixed, verbose=0)
    history = one_batch(model, y=y).history
    size = lam[:, None] * y["size"] + (1 - lam[:, None]) * y["size"][partner]
    assert history["size_loss"][0] == pytest.approx(
        ((p["size"] - size) ** 2).mean(), 1e-4
    )
    log_p = np.log(softmax(p["map"].reshape(-1, 3))).reshape(p["map"].shape)
    ce = [
        -np.take_along_axis(log_p, labels[..., None], -1).mean((1, 2, 3))
        for labels in (y["map"], y["map"][partner])
    ]
    assert history["map_loss"][0] == pytest.approx(
        (lam * ce[0] + (1 - lam) * ce[1]).mean(), rel=1e-4
    )
    assert {"mixed_kind_accuracy", "mixed_map_accuracy", "mixed_size_mae"} <= set(
        history
    )


@pytest.mark.parametrize("batch_size", [1, 5])
def test_odd_last_batches_and_batches_of_one(batch_size, jit):
    model = compiled_model(jit=jit)
    history = model.fit(
        X[:6], Y[:6], batch_size=batch_size, epochs=1, verbose=0
    ).history
    assert np.isfinite(history["loss"]).all()
    assert int(ops.convert_to_numpy(model.step.value)) == -(-6 // batch_size)


def test_every_step_has_a_draw_of_its_own(jit):
    """With frozen weights the losses differ; with the counter set back they repeat."""
    model = compiled_model(optimizer=keras.optimizers.SGD(0.0), jit=jit)
    start = weights(model)
    losses = [one_batch(model).history["loss"][0] for _ in range(4)]
    assert len(set(losses)) == 4
    model.set_weights(start)
    model.step.assign(0)
    assert [one_batch(model).history["loss"][0] for _ in range(4)] == losses


def test_save_and_load_keep_everything(tmp_path):
    mixing = nfm.Mixing(alpha=0.5, sites=("site_1",), noise="gaussian")
    model = nfm.NFMModel(network(), mixing, seed=3, preprocess=layers.Rescaling(0.5))
    model.compile("adam", CROSS_ENTROPY(from_logits=True), metrics=["accuracy"])
    one_batch(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.mixing == mixing and loaded.seed == 3
    assert loaded.dtype_policy == model.dtype_policy
    for m in (model, loaded):
        m.optimizer.learning_rate = 0.01
    assert one_batch(loaded).history == one_batch(model).history
    for a, b in zip(weights(model), weights(loaded), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(
        loaded.predict(X, verbose=0),
        model.classifier.predict(X * 0.5, verbose=0),
        atol=1e-6,
    )


SETTINGS = {
    "mixed_float16": {"policy": "mixed_float16"},
    "mixed_bfloat16": {"policy": "mixed_bfloat16"},
    "ema": {"optimizer": {"use_ema": True}},
    "accumulation": {"optimizer": {"gradient_accumulation_steps": 2}},
    "clipping": {"optimizer": {"global_clipnorm": 1.0}},
    "steps_per_execution": {"compile": {"steps_per_execution": 2}},
}


@pytest.mark.parametrize(
    "setting", slow_but("mixed_float16 accumulation steps_per_execution", SETTINGS)
)
def test_works_with_what_keras_models_work_with(setting, jit):
    if setting == "steps_per_execution" and BACKEND == "torch":
        pytest.skip("Keras refuses it on PyTorch")
    chosen = SETTINGS[setting]
    keras.config.set_dtype_policy(chosen.get("policy", "float32"))
    model = compiled_model(
        optimizer=keras.optimizers.SGD(0.05, **chosen.get("optimizer", {})),
        jit=jit,
        **chosen.get("compile", {}),
    )
    history = model.fit(X, Y, batch_size=3, epochs=15, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert int(ops.convert_to_numpy(model.step.value)) == 4 * 15


def test_any_model_takes_sites_by_name():
    inputs = keras.Input((6,), dtype="int32")
    x = layers.Embedding(20, 5, name="embedding")(inputs)
    text = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))
    model = nfm.NFMModel(text, sites=["embedding"])
    model.compile("sgd", CROSS_ENTROPY(from_logits=True))
    history = model.fit(RNG.integers(0, 20, (N, 6)), Y, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    with pytest.raises(ValueError, match="after the embedding"):
        on_tokens = nfm.NFMModel(text, sites=["input"])
        on_tokens.compile("sgd", CROSS_ENTROPY(from_logits=True))
        on_tokens.fit(RNG.integers(0, 20, (N, 6)), Y, verbose=0)


def test_a_custom_training_loop_opens_the_scope_itself():
    model, mixing = network(), nfm.Mixing()
    sites = nfm.site_layers(model)
    outputs = []
    for step in range(2):
        draw = mixing.draw(0, step, N, len(sites))
        with nfm.mixing_scope(mixing, draw, sites):
            outputs.append(ops.convert_to_numpy(model(X, training=True)))
    assert not np.allclose(outputs[0], outputs[1])


def test_bad_models_and_labels_are_refused():
    with pytest.raises(ValueError, match="must be numbers to be mixed.*Received"):
        LabelMixing(None).pair(np.array(["cat", "dog"]))
    plain = nfm.remove_sites(network())
    with pytest.raises(ValueError, match="no site to mix at.*Received: model="):
        nfm.NFMModel(plain)
    nfm.NFMModel(plain, nfm.Mixing(alpha=0.0, **QUIET))  # erm needs none
    with pytest.raises(ValueError, match="No site of that name.*'site_0'"):
        nfm.NFMModel(network(), nfm.Mixing(sites=("site_9",)))
    with pytest.raises(ValueError, match="Received: a_string|Received: str"):
        nfm.NFMModel("a_string", sites=["input"])
