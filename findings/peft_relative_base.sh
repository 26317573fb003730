#!/usr/bin/env bash
# peft 0.21.2: the base model that an adapter names in adapter_config.json, as a relative path.
#
# The guess: a relative `base_model_name_or_path` is looked for beside the adapter, as other files of a model are, so that a folder
# with `adapter/` and `base/` can be moved and loaded from anywhere.
# What happens: it is looked for from the working directory of Python. Elsewhere the same name is taken for one on the hub.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet install torch==2.13.0 transformers==5.23.0 peft==0.21.2
export HF_HUB_OFFLINE=1
cd "$work"
cat > make.py <<'PY'
import json
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

model = LlamaForCausalLM(LlamaConfig(vocab_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1))
model.save_pretrained("shared/base")
get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")).save_pretrained("shared/adapter")
for base in ("base", "../base"):
    file = "shared/adapter/adapter_config.json"
    told = json.load(open(file)) | {"base_model_name_or_path": base}
    json.dump(told, open(file, "w"))
    json.dump(told, open(f"told-{base.count('.')}.json", "w"))
PY
cat > load.py <<'PY'
import sys
from peft import AutoPeftModelForCausalLM

try:
    AutoPeftModelForCausalLM.from_pretrained(sys.argv[1])
    print("loaded")
except Exception as error:
    print(type(error).__name__)
PY
python="$work/venv/bin/python"
"$python" make.py > /dev/null 2>&1
"$python" -c 'import peft, transformers; print("peft", peft.__version__, "transformers", transformers.__version__)'
loads() { (cd "$1" && "$python" "$work/load.py" "$2" 2> /dev/null | tail -1); }
cp told-2.json shared/adapter/adapter_config.json
beside=$(loads "$work/shared/adapter" .)
other=$(loads "$work" shared/adapter)
cp told-0.json shared/adapter/adapter_config.json
above=$(loads "$work/shared" adapter)
away=$(loads "$work" shared/adapter)
echo "named ../base: from the adapter's own folder $beside, from elsewhere $other"
echo "named base, beside the adapter: from the folder above $above, from elsewhere $away"
if [ "$beside $above" = "loaded loaded" ] && [ "$other" != loaded ] && [ "$away" != loaded ]; then
  echo "as found"
else
  echo "the behaviour has changed"
  exit 1
fi
