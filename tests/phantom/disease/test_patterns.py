"""The diseases that can be drawn."""

from musclesense.phantom.anatomy.templates import TEMPLATES
from musclesense.phantom.disease.patterns import PATTERNS


def test_patterns_name_muscles_that_exist() -> None:
    known = {name for template in TEMPLATES.values() for name in template.muscles}
    assert all(set(pattern.involvement) <= known for pattern in PATTERNS.values())
