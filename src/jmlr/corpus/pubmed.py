"""PubMed's XML: the yearly baseline, the daily updates, and what efetch answers; one record for each citation.

    {"id": "31452104", "title": "...", "text": "BACKGROUND: ...\n\nRESULTS: ...", "journal": "...", "year": "2019",
     "language": ["eng"], "types": ["Journal Article"], "mesh": ["Humans"]}

The text is the abstract, empty where there is none (`skip_empty: true` passes over those). Some citations stand there in several
versions, whose number then joins the id. Source: dtd.nlm.nih.gov/ncbi/pubmed (pubmed_190101.dtd and later).
"""

from __future__ import annotations

from typing import Any

from jmlr.corpus.markup import Vocabulary, line_of, text_of

PUBMED = Vocabulary(paragraphs=frozenset({"abstract", "abstracttext"}), lines=frozenset())
CITATIONS = ("PubmedArticle", "PubmedBookArticle")


def citation(element: Any) -> dict[str, Any]:
    """Return the record of a PubmedArticle or PubmedBookArticle."""
    top = element.find("{*}MedlineCitation")
    top = element.find("{*}BookDocument") if top is None else top
    if top is None:
        return {}
    pmid, article = top.find("{*}PMID"), top.find("{*}Article")
    article = top if article is None else article
    id, version = line_of(pmid, PUBMED), "1" if pmid is None else pmid.get("Version", "1")
    title = line_of(article.find("{*}ArticleTitle"), PUBMED) or line_of(article.find("{*}Book/{*}BookTitle"), PUBMED)
    dates = article.find("{*}Journal/{*}JournalIssue/{*}PubDate")
    date = (
        "" if dates is None else line_of(dates.find("{*}Year"), PUBMED) or line_of(dates.find("{*}MedlineDate"), PUBMED)
    )
    return {
        "id": id if version == "1" else f"{id}.{version}",
        "title": title,
        "text": "\n\n".join(t for t in map(_labelled, article.iterfind("{*}Abstract/{*}AbstractText")) if t),
        "journal": line_of(article.find("{*}Journal/{*}Title"), PUBMED),
        "year": date[:4],
        "language": _all(article, "{*}Language"),
        "types": _all(article, "{*}PublicationTypeList/{*}PublicationType"),
        "mesh": _all(top, "{*}MeshHeadingList/{*}MeshHeading/{*}DescriptorName"),
    }


def _labelled(part: Any) -> str:
    text, label = text_of(part, PUBMED), part.get("Label", "").strip()
    return f"{label}: {text}" if label and text and label != "UNLABELLED" else text


def _all(element: Any, path: str) -> list[str]:
    return [line_of(found, PUBMED) for found in element.iterfind(path)]
