"""Groups of operations that faults apply to."""

from __future__ import annotations

from testcard.mocks.faults.fault import Place

NANOGPT: tuple[Place, ...] = (("nanogpt", "createImage"),)
NEBUL: tuple[Place, ...] = (("nebul", "createImage"), ("nebul", "createImageEdit"), ("nebul", "createImageVariation"))
NIM_IMAGE: tuple[Place, ...] = (("nvidia-nim-image", "generateImage"),)
VISION: tuple[Place, ...] = (("nvidia-nim-vision", "createVisionChatCompletion"),)
STABLE_DIFFUSION: tuple[Place, ...] = (("opengpu-relay", "generateStableDiffusion"),)
FLUX: tuple[Place, ...] = (("opengpu-relay", "generateFlux"),)
GEMINI: tuple[Place, ...] = (("opengpu-relay", "generateGemini"),)
GPT_GENERATE: tuple[Place, ...] = (("opengpu-relay", "generateGptImage"),)
GPT_EDIT: tuple[Place, ...] = (("opengpu-relay", "editGptImage"),)
QWEN_GENERATE: tuple[Place, ...] = (("opengpu-relay", "generateQwen"),)
QWEN_EDIT: tuple[Place, ...] = (("opengpu-relay", "editQwen"),)
TASK: tuple[Place, ...] = (("opengpu-relay", "getTask"),)

RELAY_PICTURES = (*STABLE_DIFFUSION, *FLUX, *GEMINI, *GPT_GENERATE, *GPT_EDIT, *QWEN_GENERATE, *QWEN_EDIT)
PICTURES = (*NANOGPT, *NEBUL, *NIM_IMAGE, *RELAY_PICTURES)
KEYED = (*PICTURES, *VISION)
EVERY = (*KEYED, *TASK)
#: operations that take the number of pictures
COUNTED = (*NANOGPT, *NEBUL, *GPT_GENERATE, *GPT_EDIT)
#: operations whose answers may hold a picture as an address or as base64
EITHER_WAY = (*NANOGPT, *NEBUL)
SEEDED = (*NANOGPT, *NIM_IMAGE, *FLUX, *QWEN_GENERATE, *QWEN_EDIT)
#: operations that take a format, or promise one
FORMATTED = (*NEBUL, *NIM_IMAGE, *FLUX)
#: operations whose pictures have a size that was asked for or is documented (Gemini's have a shape and a tier)
MEASURED = tuple(place for place in PICTURES if place not in GEMINI)
#: operations for which the documents bound a number other than that of pictures, and those for which they list words
BOUNDED = (*NANOGPT, *FLUX)
LISTED = (*NANOGPT, *NIM_IMAGE, *VISION, *FLUX, *GEMINI, *GPT_GENERATE, *GPT_EDIT)
#: operations whose pictures come as base64 and in no other way, and those whose pictures come as addresses
BASE64_ONLY = (*NIM_IMAGE, *STABLE_DIFFUSION, *FLUX, *GEMINI)
URL_ONLY = (*GPT_GENERATE, *GPT_EDIT, *QWEN_GENERATE, *QWEN_EDIT)
BY_URL = (*EITHER_WAY, *URL_ONLY)
BY_BASE64 = (*EITHER_WAY, *BASE64_ONLY)
#: operations that take a picture, and those that cannot do without one
WITH_IMAGE = (*NANOGPT, *NEBUL[1:], *NIM_IMAGE, *FLUX, *GPT_EDIT, *QWEN_EDIT)
IMAGE_REQUIRED = (*NEBUL[1:], *NIM_IMAGE, *GPT_EDIT, *QWEN_EDIT)
#: operations that take a mask, and those for which someone says what it means
MASKED = (*NANOGPT, ("nebul", "createImageEdit"), *NIM_IMAGE, *GPT_EDIT)
MASK_SPELT_OUT = (*NANOGPT, ("nebul", "createImageEdit"), *GPT_EDIT)
#: operations for which a document says how long addresses last
LASTING = (*NANOGPT, *QWEN_GENERATE, *QWEN_EDIT)
#: operations that take a prompt
PROMPTED = tuple(place for place in PICTURES if place != ("nebul", "createImageVariation"))
