"""The paper, made from runs: its numbers, tables, figures, PDF and web page.

``paper/PAPER.md`` holds the prose and no result; ``paper/sources.yaml`` names for each result the
run that holds it, its key there, and its format. The prose contains

- ``{{name}}`` for a number, ``{{const:name}}`` for a published or fixed fact;
- ``::: {#tbl:name}`` blocks: ``{{table:name}}`` or a written table, then the caption
  (``{{table:runs}}``, ``commands``, ``data`` and ``environment`` are always there: how the paper's
  runs were made);
- ``![Caption.](figures/name.pdf){#fig:name}``, or a ``::: {#fig:name}`` block of several images
  and a caption; the class ``.wide`` lets figures and tables span both columns, and go to the top
  of a page unless ``.here`` keeps them where they are in the text;
- ``$$ ... $$ {#eq:name}``; ``@fig:name``, ``@tbl:name``, ``@eq:name``, ``@sec:name``; ``[@key]``;
- ``::: {#refs}`` and ``:::``, the place of the references; the class ``.appendix`` of a heading,
  from which on there is one column.

pandoc reads the prose, typst sets it, and pandoc writes it once more as a web page. Nothing in the
result depends on the clock or on the machine's fonts, so the same runs give the same bytes.
"""

from modsnr.paper.building import build, check, constants, lacks
