"""Surgery on decoders: the smaller model is exactly the one that transformers would build from those layers."""

import copy

import pytest
import torch
import transformers as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from greenlab.core.model.decoder import check_input_ids, decoder_layers, keep_layers

SMALL = {
    "vocab_size": 61, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 6, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
FAMILIES = {
    "llama": lambda **k: tf.LlamaForCausalLM(tf.LlamaConfig(**SMALL | {"tie_word_embeddings": True} | k)),
    "llama-untied": lambda **k: tf.LlamaForCausalLM(tf.LlamaConfig(**SMALL | {"tie_word_embeddings": False} | k)),
    "qwen2": lambda **k: tf.Qwen2ForCausalLM(
        tf.Qwen2Config(**SMALL | {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 3} | k)
    ),
    "qwen3": lambda **k: tf.Qwen3ForCausalLM(tf.Qwen3Config(**SMALL | {"head_dim": 8} | k)),
    "mistral": lambda **k: tf.MistralForCausalLM(tf.MistralConfig(**SMALL | {"sliding_window": 5} | k)),
    "phi": lambda **k: tf.PhiForCausalLM(tf.PhiConfig(**SMALL | k)),
    "phi3": lambda **k: tf.Phi3ForCausalLM(tf.Phi3Config(**SMALL | k)),
}
IDS = torch.randint(3, 61, (2, 12), generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=FAMILIES, scope="module")
def model(request):
    torch.manual_seed(0)
    return FAMILIES[request.param]().eval()


def built_from(model, kept):
    """Build the reference with transformers alone: a fresh model of the smaller config, its weights copied by layer."""
    config = copy.deepcopy(model.config)
    config.num_hidden_layers = len(kept)
    if getattr(config, "layer_types", None):
        config.layer_types = [model.config.layer_types[i] for i in kept]
    other = type(model)(config).eval()
    for name, module in model.named_children():
        if name != "model":
            getattr(other, name).load_state_dict(module.state_dict())
    for name, module in model.model.named_children():
        if name != "layers":
            getattr(other.model, name).load_state_dict(module.state_dict())
    for new, old in enumerate(kept):
        other.model.layers[new].load_state_dict(model.model.layers[old].state_dict())
    return other


@torch.no_grad()
@settings(max_examples=8, deadline=None)
@given(kept=st.sets(st.integers(0, 5), min_size=1).map(sorted))
def test_logits_are_bit_equal_to_a_model_built_with_only_those_layers(model, kept):
    pruned = keep_layers(model, kept)
    assert torch.equal(pruned(IDS).logits, built_from(model, kept)(IDS).logits)
    assert [layer.self_attn.layer_idx for layer in pruned.model.layers] == list(range(len(kept)))


@torch.no_grad()
@pytest.mark.parametrize("kept", [[0, 1, 4, 5], [1, 2, 5], [3]])  # with layer 0 gone a stale index fails silently
def test_cached_decoding_equals_the_uncached(model, kept):
    pruned = keep_layers(model, kept)
    whole = pruned(IDS, use_cache=False).logits
    output = pruned(IDS[:, :5], use_cache=True)
    parts = [output.logits]
    for i in range(5, IDS.shape[1]):
        output = pruned(IDS[:, i : i + 1], past_key_values=output.past_key_values, use_cache=True)
        parts.append(output.logits)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=1e-5, atol=1e-6)
    assert len(output.past_key_values.layers) == len(kept)


@torch.no_grad()
def test_saved_and_reloaded_it_is_the_same_model(model, tmp_path):
    pruned = keep_layers(model, [0, 2, 5])
    pruned.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path).eval()
    assert again.config.num_hidden_layers == 3
    assert torch.equal(again(IDS).logits, pruned(IDS).logits)


@torch.no_grad()
def test_the_model_given_is_never_changed_and_its_weights_are_shared(model):
    before, config = {k: v.clone() for k, v in model.state_dict().items()}, model.config.to_dict()
    logits = model(IDS).logits
    pruned = keep_layers(model, [1, 3])
    assert model.config.to_dict() == config
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(model(IDS).logits, logits)
    assert [layer.self_attn.layer_idx for layer in decoder_layers(model)] == list(range(6))
    ours = {p.data_ptr() for p in pruned.parameters()}
    assert ours <= {p.data_ptr() for p in model.parameters()}, "a weight was copied"
    assert all(not p.is_meta for p in [*pruned.parameters(), *pruned.buffers()])


def test_keeping_every_layer_gives_an_equal_model(model):
    with torch.no_grad():
        assert torch.equal(keep_layers(model, range(6))(IDS).logits, model(IDS).logits)


MOE = SMALL | {"num_hidden_layers": 4, "moe_intermediate_size": 16, "num_experts_per_tok": 2}
GROUPS = {"n_routed_experts": 4, "n_shared_experts": 1, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 2}
EXPERTS = {"head_dim": 8, "num_experts": 4}
SHARED = {"num_experts": 4, "shared_expert_intermediate_size": 16}
LATENT = {"q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 4, "v_head_dim": 8, "qk_nope_head_dim": 4}
MIXTURES = {  # some layers dense, others mixtures of experts, each family with its own way to say which
    "qwen3-list": (tf.Qwen3MoeForCausalLM, tf.Qwen3MoeConfig, EXPERTS | {"mlp_only_layers": [0]}),
    "qwen3-step": (tf.Qwen3MoeForCausalLM, tf.Qwen3MoeConfig, EXPERTS | {"decoder_sparse_step": 2}),
    "qwen2-both": (
        tf.Qwen2MoeForCausalLM, tf.Qwen2MoeConfig, SHARED | {"mlp_only_layers": [3], "decoder_sparse_step": 2},
    ),
    "glm4": (tf.Glm4MoeForCausalLM, tf.Glm4MoeConfig, GROUPS | {"head_dim": 8}),
    "deepseek-v3": (tf.DeepseekV3ForCausalLM, tf.DeepseekV3Config, GROUPS | LATENT | {"num_key_value_heads": 4}),
    "hy-v3": (tf.HYV3ForCausalLM, tf.HYV3Config, EXPERTS),
    "laguna": (tf.LagunaForCausalLM, tf.LagunaConfig, SHARED | {"head_dim": 8}),
}  # fmt: skip


def without(model, kept, ids):
    """Logits of the whole model when every layer that is not kept hands on what it received."""
    hooks = [
        layer.register_forward_hook(
            lambda m, args, kwargs, out: (args or (kwargs["hidden_states"],))[0], with_kwargs=True
        )
        for i, layer in enumerate(model.model.layers)
        if i not in kept
    ]
    logits = model(ids, use_cache=False).logits
    for hook in hooks:
        hook.remove()
    return logits


@torch.no_grad()
@pytest.mark.parametrize("kept", [[0, 1, 3], [1, 2, 3], [3], [0]])
@pytest.mark.parametrize("family", MIXTURES)
def test_layers_of_a_mixture_of_experts_are_cut_saved_and_loaded(family, kept, tmp_path):
    torch.manual_seed(0)
    kind, config, changes = MIXTURES[family]
    whole = kind(config(**MOE | changes)).eval()
    parts = {tuple(sorted(name for name, _ in layer.named_parameters())) for layer in whole.model.layers}
    assert len(parts) == 2, "the layers should differ, else this tests nothing"
    before = whole.config.to_dict()
    pruned = keep_layers(whole, kept)
    torch.testing.assert_close(pruned(IDS).logits, without(whole, kept, IDS), atol=1e-5, rtol=1e-4)
    assert whole.config.to_dict() == before
    pruned.save_pretrained(tmp_path)
    assert torch.equal(kind.from_pretrained(tmp_path).eval()(IDS).logits, pruned(IDS).logits)


def test_layers_that_differ_in_a_way_no_config_can_say_are_refused():
    model = FAMILIES["llama"]()
    model.model.layers[2].mlp.up_proj = torch.nn.Linear(32, 50, bias=False)
    with pytest.raises(ValueError, match=r"LlamaForCausalLM: its layers differ .*model.layers.1.mlp.up_proj.weight"):
        keep_layers(model, [1, 2])


def test_token_ids_are_checked():
    assert check_input_ids(IDS, 61) is IDS
    with pytest.raises(TypeError, match="input_ids is list"):
        check_input_ids([[1, 2]])
    with pytest.raises(TypeError, match=r"input_ids is torch\.float32"):
        check_input_ids(IDS.float())
    with pytest.raises(ValueError, match=r"input_ids holds ids from 4 to 56: give ids from 0 to 9"):
        check_input_ids(IDS, 10)
    with pytest.raises(TypeError, match=r"kept=1\.0 is float"):
        keep_layers(FAMILIES["llama"](), [1.0])


@pytest.mark.parametrize("kept", [[], [0, 6], [-1, 2], [2, 1], [1, 1]])
def test_impossible_layers_are_refused(kept):
    model = FAMILIES["llama"]()
    with pytest.raises(ValueError, match=r"kept=.*from 0 to 5"):
        keep_layers(model, kept)


def test_an_encoder_is_refused():
    bert = tf.BertModel(tf.BertConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48))
    with pytest.raises(ValueError, match=r"BertModel.*a decoder"):
        decoder_layers(bert)


def test_an_encoder_decoder_is_refused():
    t5 = tf.T5ForConditionalGeneration(
        tf.T5Config(d_model=32, d_ff=48, num_layers=2, num_heads=2, d_kv=16, vocab_size=61, decoder_start_token_id=0)
    )
    with pytest.raises(ValueError, match=r"T5ForConditionalGeneration.*a decoder"):
        decoder_layers(t5)


def test_a_decoder_with_its_layers_elsewhere_is_refused():
    gpt2 = tf.GPT2LMHeadModel(tf.GPT2Config(n_embd=32, n_layer=2, n_head=2, vocab_size=61))
    with pytest.raises(ValueError, match=r"GPT2LMHeadModel.*model\.model\.layers.*Llama"):
        decoder_layers(gpt2)
