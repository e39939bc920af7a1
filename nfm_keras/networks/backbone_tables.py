"""Which backbones there are and how each is built, without importing any package."""

import types

# Name -> (function of `keras.applications`, what it expects in place of [0, 1]: see
# `backbones`). With `include_preprocessing`, the default, some take [0, 255].
APPLICATIONS = types.MappingProxyType(
    {
        "convnext_tiny": ("ConvNeXtTiny", "bytes"),
        "convnext_small": ("ConvNeXtSmall", "bytes"),
        "convnext_base": ("ConvNeXtBase", "bytes"),
        "convnext_large": ("ConvNeXtLarge", "bytes"),
        "convnext_xlarge": ("ConvNeXtXLarge", "bytes"),
        "densenet121": ("DenseNet121", "imagenet"),
        "densenet169": ("DenseNet169", "imagenet"),
        "densenet201": ("DenseNet201", "imagenet"),
        "efficientnet_b0": ("EfficientNetB0", "bytes"),
        "efficientnet_b1": ("EfficientNetB1", "bytes"),
        "efficientnet_b2": ("EfficientNetB2", "bytes"),
        "efficientnet_b3": ("EfficientNetB3", "bytes"),
        "efficientnet_b4": ("EfficientNetB4", "bytes"),
        "efficientnet_b5": ("EfficientNetB5", "bytes"),
        "efficientnet_b6": ("EfficientNetB6", "bytes"),
        "efficientnet_b7": ("EfficientNetB7", "bytes"),
        "efficientnetv2_b0": ("EfficientNetV2B0", "bytes"),
        "efficientnetv2_b1": ("EfficientNetV2B1", "bytes"),
        "efficientnetv2_b2": ("EfficientNetV2B2", "bytes"),
        "efficientnetv2_b3": ("EfficientNetV2B3", "bytes"),
        "efficientnetv2_s": ("EfficientNetV2S", "bytes"),
        "efficientnetv2_m": ("EfficientNetV2M", "bytes"),
        "efficientnetv2_l": ("EfficientNetV2L", "bytes"),
        "inception_v3": ("InceptionV3", "symmetric"),
        "inception_resnet_v2": ("InceptionResNetV2", "symmetric"),
        "mobilenet": ("MobileNet", "symmetric"),
        "mobilenet_v2": ("MobileNetV2", "symmetric"),
        "mobilenet_v3_small": ("MobileNetV3Small", "bytes"),
        "mobilenet_v3_large": ("MobileNetV3Large", "bytes"),
        "nasnet_mobile": ("NASNetMobile", "symmetric"),
        "nasnet_large": ("NASNetLarge", "symmetric"),
        "resnet50": ("ResNet50", "caffe"),
        "resnet101": ("ResNet101", "caffe"),
        "resnet152": ("ResNet152", "caffe"),
        "resnet50_v2": ("ResNet50V2", "symmetric"),
        "resnet101_v2": ("ResNet101V2", "symmetric"),
        "resnet152_v2": ("ResNet152V2", "symmetric"),
        "vgg16": ("VGG16", "caffe"),
        "vgg19": ("VGG19", "caffe"),
        "xception": ("Xception", "symmetric"),
    }
)

_RESNET = {"stackwise_filters": (64, 128, 256, 512), "stackwise_strides": (1, 2, 2, 2)}

# Name -> (generic class of `keras_cv.models`, its settings as published). The classes'
# own names for them, such as `ResNet18V2Backbone`, ask a hub. Images are in [0, 1].
KERAS_CV = types.MappingProxyType(
    {
        "resnet18_v2": (
            "ResNetV2Backbone",
            {**_RESNET, "stackwise_blocks": (2, 2, 2, 2), "block_type": "basic_block"},
        ),
        "resnet50_v2": (
            "ResNetV2Backbone",
            {**_RESNET, "stackwise_blocks": (3, 4, 6, 3)},
        ),
        "efficientnetv2_b0": (
            "EfficientNetV2Backbone",
            {
                "width_coefficient": 1.0,
                "depth_coefficient": 1.0,
                "stackwise_kernel_sizes": (3, 3, 3, 3, 3, 3),
                "stackwise_num_repeats": (1, 2, 2, 3, 5, 8),
                "stackwise_input_filters": (32, 16, 32, 48, 96, 112),
                "stackwise_output_filters": (16, 32, 48, 96, 112, 192),
                "stackwise_expansion_ratios": (1, 4, 4, 4, 6, 6),
                "stackwise_squeeze_and_excite_ratios": (0, 0, 0, 0.25, 0.25, 0.25),
                "stackwise_strides": (1, 2, 2, 2, 1, 2),
                "stackwise_conv_types": (*("fused",) * 3, *("unfused",) * 3),
            },
        ),
        "densenet121": ("DenseNetBackbone", {"stackwise_num_repeats": (6, 12, 24, 16)}),
        "csp_darknet_tiny": (
            "CSPDarkNetBackbone",
            {
                "stackwise_channels": (48, 96, 192, 384),
                "stackwise_depth": (1, 3, 3, 1),
            },
        ),
    }
)

_BOTTLENECKS = {
    "input_conv_filters": [64],
    "input_conv_kernel_sizes": [7],
    "stackwise_num_filters": [64, 128, 256, 512],
    "stackwise_num_strides": [1, 2, 2, 2],
}

# The same for `keras_hub.models`.
KERAS_HUB = types.MappingProxyType(
    {
        "resnet18": (
            "ResNetBackbone",
            {
                **_BOTTLENECKS,
                "stackwise_num_blocks": [2, 2, 2, 2],
                "block_type": "basic_block",
            },
        ),
        "resnet50": (
            "ResNetBackbone",
            {
                **_BOTTLENECKS,
                "stackwise_num_blocks": [3, 4, 6, 3],
                "block_type": "bottleneck_block",
            },
        ),
        "densenet121": (
            "DenseNetBackbone",
            {"stackwise_num_repeats": [6, 12, 24, 16]},
        ),
    }
)
