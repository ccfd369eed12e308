"""Load a hub model in a process of its own: huggingface_hub reads its settings once, at import.

Usage: hub_client.py NAME [KEY=VALUE...]   prints one JSON object.
"""

import json
import sys

if "without_library=1" in sys.argv:
    sys.modules["huggingface_hub"] = None

from birdembed._core import WeightsError
from birdembed.pretrained.hub import load_hub

options = dict(word.split("=", 1) for word in sys.argv[2:])
arguments = {"revision": options.get("revision")}
if "local_files_only" in options:
    arguments["local_files_only"] = True
try:
    loaded = load_hub(sys.argv[1], **arguments)
except WeightsError as error:
    print(json.dumps({"error": str(error)}))
else:
    print(
        json.dumps(
            {
                "architecture": loaded.architecture,
                "source": loaded.source,
                "classes": loaded.num_classes,
                "digest": loaded.with_fingerprint().trunk_digest,
                "size": loaded.preprocess.size,
                "crop_pct": loaded.preprocess.crop_pct,
            }
        )
    )
