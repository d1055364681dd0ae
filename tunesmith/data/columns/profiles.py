"""What a column's name says, and what is in it.

Knows: what columns are usually called in seven languages, what stands for a missing value, and how
to measure a column's cells.
Does not know: which column is used for what.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Set
from dataclasses import dataclass
from functools import cached_property

import polars as pl


def _ranked(*meanings: str) -> dict[str, int]:
    """Each name → the rank of its meaning. Names are lower case and without accents."""
    return {name: rank for rank, names in enumerate(meanings) for name in names.split()}


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


TEXT_NAMES = _ranked(
    "text texte texto testo tekst",
    "message nachricht mitteilung mensaje messaggio mensagem bericht",
    "utterance ausserung enonce enunciado uitspraak",
    "body corps cuerpo corpo",
    "review rezension avis resena recensione resenha recensie",
    "sms",
    "sentence satz phrase oracion frase zin",
    "content inhalt contenu contenido contenuto conteudo inhoud",
    "comment kommentar commentaire comentario commento opmerking reactie",
    "tweet",
    "feedback ruckmeldung",
    "complaint beschwerde plainte reclamation queja reclamo reclamacao klacht",
    "post beitrag",
    "email courriel correo",
    "ticket",
    "query requete consulta",
    "question frage pregunta domanda pergunta vraag",
    "request anfrage demande solicitud richiesta pedido verzoek",
    "description beschreibung descripcion descrizione descricao beschrijving omschrijving",
    "document dokument documento",
    "prompt",
    "input eingabe entree entrada invoer",
    "abstract zusammenfassung resume resumen riassunto resumo samenvatting",
    "title titel titre titulo titolo",
    "subject betreff objet asunto oggetto assunto onderwerp",
    "v2",
)
HEADLINE_NAMES = _names(
    "title titel titre titulo titolo subject betreff objet asunto oggetto assunto onderwerp "
    "headline uberschrift schlagzeile kop"
)
LABEL_NAMES = _ranked(
    "label labels etikett etiquette etiqueta etichetta rotulo",
    "category kategorie categorie categoria",
    "intent absicht intention intencion intenzione intencao intentie",
    "class klasse classe clase",
    "target",
    "sentiment stimmung sentimiento sentimento",
    "topic thema theme tema",
    "emotion emocion emozione emocao emotie",
    "tag",
    "annotation",
    "gold",
    "polarity polaritat polarite polaridad polarita polaridade polariteit",
    "department abteilung departement departamento dipartimento afdeling",
    "queue",
    "rating bewertung evaluation puntuacion valutazione avaliacao beoordeling",
    "stars sterne etoiles estrellas stelle estrelas sterren",
    "output ausgabe sortie salida uscita saida uitvoer",
    "v1",
)
RATER_NAMES = _names(
    "annotator rater coder judge labeler labeller voter worker assessor "
    "annotateur evaluateur bewerter annotierer kodierer anotador codificador juez evaluador "
    "annotatore valutatore giudice avaliador juiz beoordelaar annoteur"
)
VOTE_NAMES = _names("vote votes stimmen voix votos voti stemmen count counts")
ANNOTATOR_NAMES = RATER_NAMES | {"vote", "annotation", "reviewer"}
GROUP_NAMES = _ranked(
    "thread",
    "conversation dialogue dialog gesprach conversacion conversazione conversa gesprek",
    "ticket case vorgang",
    "session sitzung sesion sessione sessao sessie",
    "document dokument documento",
    "customer client kunde kundin cliente klant",
    "user username benutzer nutzer utilisateur usuario utente gebruiker",
    "author autor autorin auteur autore",
)
TIME_NAMES = _ranked(
    "created received sent posted published",
    "timestamp datetime zeitstempel horodatage",
    "date datum fecha",
    "time zeit uhrzeit heure hora ora tijd",
    "updated modified",
)
ID_NAMES = _names("id ids uuid guid key nr no number nummer numero identifier code")
WEIGHT_NAMES = _names("sampleweight exampleweight instanceweight rowweight")
NEITHER_NAMES = _names(
    "id ids uuid guid index idx date time timestamp created updated url link author user username "
    "name lang language split source datum zeit fecha sprache langue idioma lingua taal quelle "
    "autor auteur autore benutzer utilisateur usuario utente gebruiker nom nombre nome naam "
    "fuente fonte bron"
)

PLACEHOLDERS = frozenset({"na", "n/a", "#n/a", "null", "none", "nan", "-", "?"})
"""What a cell holds in place of a value, in lower case."""

_SAMPLE = 20_000  # rows looked at, spread over the whole table
_DATE = r"^\d{4}-\d{1,2}-\d{1,2}|^\d{1,2}[./]\d{1,2}[./]\d{2,4}\b"
_ADDRESS = r"^\S+@\S+\.\S+$|^https?://\S+$"
_MANY_LABELS = 200  # a column with more values is taken as labels only if its name says so


def tokens(name: str) -> list[str]:
    """The words and numbers in a column's name, without case, accents and separators."""
    apart = re.sub(r"([a-z])([A-Z])", r"\1 \2", name)
    decomposed = unicodedata.normalize("NFKD", apart.casefold())
    plain = "".join(char for char in decomposed if not unicodedata.combining(char))
    return re.findall(r"[^\W\d_]+|\d+", plain)


def whole(name: str) -> str:
    """A column's name without case, accents and separators."""
    return "".join(tokens(name))


@dataclass(frozen=True)
class Profile:
    """What a column looks like, from a sample of its filled cells."""

    name: str
    values: pl.Series

    @cached_property
    def num_unique(self) -> int:
        return self.values.n_unique()

    @property
    def unique_share(self) -> float:
        return self.num_unique / max(len(self.values), 1)

    @cached_property
    def mean_characters(self) -> float:
        return mean(self.values.str.len_chars())

    @cached_property
    def mean_words(self) -> float:
        return mean(self.values.str.count_matches(r"\S+"))

    @cached_property
    def numbers(self) -> pl.Series:
        """Float64, null where a cell holds no number."""
        return self.values.str.strip_chars().cast(pl.Float64, strict=False)

    @cached_property
    def is_number(self) -> bool:
        return mean(self.numbers.is_not_null()) > 0.9

    @cached_property
    def is_date(self) -> bool:
        return mean(self.values.str.contains(_DATE)) > 0.9

    @cached_property
    def is_address(self) -> bool:
        return mean(self.values.str.contains(_ADDRESS)) > 0.9

    @cached_property
    def tokens(self) -> list[str]:
        return tokens(self.name)

    def named(self, hints: Mapping[str, int]) -> float:
        """3 for a column named by a hint (the better its rank, the more), 1.5 for a part."""
        name = "".join(self.tokens)
        if name in hints:
            return 3 - 0.01 * hints[name]
        return 1.5 if hints.keys() & set(self.tokens) else 0.0

    def rank(self, hints: Mapping[str, int]) -> int:
        """The best rank of a word in the name; beyond the last one if none is a hint."""
        return min((hints[token] for token in self.tokens if token in hints), default=len(hints))

    def called(self, names: Set[str]) -> bool:
        """Whether the name is one of `names`, but for words such as id or name beside it."""
        said = set(self.tokens) - ID_NAMES - {"name", "hash"}
        return bool(said) and said <= names

    @property
    def is_wordy(self) -> bool:
        return self.mean_words >= 2 or self.mean_characters >= 20

    def text_score(self) -> float:
        """How much this looks like the text to classify; 0 or less: not at all."""
        score = self.named(TEXT_NAMES)
        if self.is_number or self.is_date or self.is_address or not (score or self.is_wordy):
            return 0.0
        if NEITHER_NAMES & set(self.tokens) and score < 2:
            score -= 2
        return score + min(self.mean_words, 12) / 4 + self.unique_share

    def label_score(self) -> float:
        """How much this looks like labels; 0 or less: not at all."""
        score = self.named(LABEL_NAMES)
        repeats = self.unique_share <= 0.5 or (len(self.values) < 20 and self.num_unique < 10)
        if self.is_date or not repeats or self.mean_characters > 60 or not len(self.values):
            return 0.0
        usual = 2 <= self.num_unique <= _MANY_LABELS and not NEITHER_NAMES & set(self.tokens)
        if not (score or usual):
            return 0.0
        return score + (1 - self.unique_share) + (0 if self.is_number else 1)


def sample_of(columns: pl.DataFrame) -> pl.DataFrame:
    """Rows spread evenly over the table: all of a short one, some 20,000 of a long one."""
    return columns.gather_every(max(1, columns.height // _SAMPLE))


def profile(column: pl.Series) -> Profile:
    """The profile of a sampled String column."""
    return Profile(column.name, column.filter(column.str.strip_chars() != ""))


def mean(series: pl.Series) -> float:
    """The mean as a float, 0 for an empty series."""
    value = series.mean()
    return float(value) if isinstance(value, int | float) else 0.0
