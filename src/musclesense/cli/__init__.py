"""``musclesense VERB``: one module a verb."""
