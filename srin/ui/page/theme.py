"""The page's look: one theme, light and dark. Surfaces are neutral grey, so that they don't tint the eye's judgement."""

import gradio as gr
from gradio.themes.utils import colors, fonts, sizes

from srin.ui.page.component import UI

# Later ones overrule earlier ones.
CSS = [UI / name / f"{name}.css" for name in ("page", "stage", "compare", "gallery", "study")]


def theme() -> gr.themes.Base:
    """Gradio's base theme with our colours; its font comes with Gradio, so no page load needs the internet."""
    return gr.themes.Base(
        primary_hue=colors.teal,
        secondary_hue=colors.teal,
        neutral_hue=colors.neutral,
        spacing_size=sizes.spacing_md,
        radius_size=sizes.radius_md,
        font=(fonts.LocalFont("IBM Plex Sans", weights=(400, 700)), "system-ui", "sans-serif"),
        font_mono=("ui-monospace", "monospace"),
    ).set(
        body_background_fill="*neutral_100",
        body_background_fill_dark="*neutral_950",
        block_background_fill="white",
        block_background_fill_dark="*neutral_900",
        block_border_width="1px",
        block_border_color="*neutral_200",
        block_border_color_dark="*neutral_800",
        block_shadow="none",
        block_label_background_fill="white",
        block_label_background_fill_dark="*neutral_900",
        color_accent="*primary_700",
        border_color_accent="*primary_700",
        border_color_accent_dark="*primary_500",
        block_label_border_width="0px",
        block_label_text_color="*neutral_600",
        block_label_text_color_dark="*neutral_300",
        block_title_text_color="*neutral_600",
        block_title_text_color_dark="*neutral_300",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_400",
        input_background_fill="white",
        input_border_width="1px",
        input_border_color="*neutral_300",
        input_border_color_dark="*neutral_600",
        input_background_fill_dark="*neutral_900",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_800",
        button_primary_text_color="white",
        button_secondary_background_fill="*neutral_200",
        button_secondary_background_fill_hover="*neutral_300",
        button_secondary_background_fill_dark="*neutral_800",
        button_secondary_background_fill_hover_dark="*neutral_700",
        checkbox_background_color_selected="*primary_700",
        checkbox_background_color_selected_dark="*primary_600",
        checkbox_border_color_selected="*primary_700",
        checkbox_border_color_selected_dark="*primary_600",
        slider_color="*primary_700",
        slider_color_dark="*primary_500",
        link_text_color="*primary_700",
        link_text_color_dark="*primary_400",
    )
