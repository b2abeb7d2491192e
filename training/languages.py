"""Language codes: ISO 639-1 where there is one, else ISO 639-3."""

# ISO 639-3 (and other codes that sources use) to ISO 639-1.
SHORT = dict(
    pair.split(":")
    for pair in """
    afr:af amh:am arb:ar aze:az bak:ba bel:be ben:bn bod:bo bos:bs bul:bg cat:ca ces:cs cym:cy
    dan:da deu:de div:dv dzo:dz ell:el eng:en est:et eus:eu ewe:ee fao:fo fas:fa fij:fj fil:tl
    fin:fi fra:fr gle:ga glg:gl guj:gu hau:ha heb:he hin:hi hrv:hr hun:hu hye:hy ibo:ig ind:id
    isl:is ita:it jpn:ja kan:kn kat:ka kaz:kk khm:km kin:rw kir:ky kmr:ku kor:ko lao:lo lav:lv
    lit:lt ltz:lb mal:ml mar:mr mkd:mk mlg:mg mlt:mt mon:mn mri:mi msa:ms mya:my nde:nd nep:ne
    nld:nl nno:nn nob:nb no:nb nya:ny orm:om pan:pa pol:pl por:pt pus:ps ron:ro rus:ru sin:si
    slk:sk slv:sl smo:sm sna:sn snd:sd som:so spa:es sqi:sq srp:sr ssw:ss swa:sw swe:sv tah:ty
    tam:ta tat:tt tel:te tgk:tg tha:th tir:ti ton:to tsn:tn tuk:tk tur:tr uig:ug ukr:uk urd:ur
    uzb:uz ven:ve vie:vi wol:wo xho:xh yor:yo zho:zh cmn:zh zul:zu iw:he
    """.split()
)

# The languages of XLM-R, whose vocabulary and weights the teacher started from.
XLM_R = frozenset(
    """
    af am ar as az be bg bn br bs ca cs cy da de el en eo es et eu fa fi fr fy ga gd gl gu ha he
    hi hr hu hy id is it ja jv ka kk km kn ko ku ky la lo lt lv mg mk ml mn mr ms my nb ne nl nn
    om or pa pl ps pt ro ru sa sd si sk sl so sq sr su sv sw ta te th tl tr ug uk ur uz vi xh yi
    zh yue ckb
    """.split()
)

# Languages without spaces between words: fewer characters hold as much.
DENSE = frozenset(["zh", "ja", "ko", "yue"])


def language(code: str) -> str:
    """The code of a language without script and region: `aze-Latn` and `az` are `az`."""
    base = code.replace("_", "-").split("-")[0].lower()
    return SHORT.get(base, base)
