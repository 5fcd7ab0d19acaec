"""Codes of languages in other spellings in, the language and script of a FLORES-style label out: the tables."""

from __future__ import annotations


def _pairs(table: str) -> dict[str, str]:
    return {code: language for code, _, language in (pair.partition("=") for pair in table.split())}


# Languages by the script they are usually written in: those of FLORES-200, of fastText's lid.176, and all others that
# have a two-letter code. Of a language with two scripts the usual one comes first.
_LANGUAGES_OF_SCRIPT = {
    "Latn": """aar ace afr aka als arg ast ayr azj bam ban bar bcl bem bis bjn bos bre bug cat cbk ceb ces cha cjk cor
        cos crh cym dan deu dik diq dsb dyu egl eng epo est eus ewe fao fij fin fon fra frr fry fur fuv gaz gla gle glg
        glv grn gsw hat hau hbs her hif hmo hrv hsb hun ibo ido ile ilo ina ind ipk isl ita jav jbo kab kac kal kam kbp
        kea kik kin kmb kmr knc kon kua lat lij lim lin lit lmo ltg ltz lua lub lug luo lus lvs mah min mlt mos mri mwl
        nap nau nav nbl nci nde ndo nds nld nno nob nso nus nya oci pag pam pap pfl plt pms pol por quy roh ron run sag
        scn sco slk slv sme smo sna som sot spa srd ssw sun swe swh szl tah taq tgl ton tpi tsn tso tuk tum tur twi umb
        uzn vec ven vep vie vls vol war wln wol xho yor zha zsm zul""",
    "Cyrl": """abk ava bak bel bul bxr che chu chv kaz khk kir kpv krc lez mhr mkd mrj myv oss rue rus sah srp tat tgk
        tyv ukr xal""",
    "Arab": """acm acq aeb ajp apc arb ars ary arz azb ckb kas lrc mzn pbt pes pnb prs snd uig urd""",
    "Deva": """awa bho dty gom hin hne mag mai mar new npi pli san""",
    "Beng": "asm ben bpy mni",
    "Hebr": "heb ydd",
    "Ethi": "amh tir",
    "Tibt": "bod dzo",
    "Hans": "zho wuu",
    "Hant": "yue",
    "Mymr": "mya shn",
    "Geor": "kat xmf",
    "Cans": "cre iku oji",
    "Armn": "hye",
    "Grek": "ell",
    "Gujr": "guj",
    "Guru": "pan",
    "Hang": "kor",
    "Jpan": "jpn",
    "Khmr": "khm",
    "Knda": "kan",
    "Laoo": "lao",
    "Mlym": "mal",
    "Olck": "sat",
    "Orya": "ory",
    "Sinh": "sin",
    "Taml": "tam",
    "Telu": "tel",
    "Tfng": "tzm",
    "Thaa": "div",
    "Thai": "tha",
    "Yiii": "iii",
}
USUAL_SCRIPT = {
    language: script for script, languages in _LANGUAGES_OF_SCRIPT.items() for language in languages.split()
}

# Scripts that a language is also written in, where a model's label names the language alone.
OTHER_SCRIPTS: dict[str, tuple[str, ...]] = {
    "ace": ("Arab",),
    "azj": ("Cyrl",),
    "bel": ("Latn",),
    "bjn": ("Arab",),
    "bos": ("Cyrl",),
    "gom": ("Latn", "Knda"),
    "hbs": ("Cyrl",),
    "hif": ("Deva",),
    "kas": ("Deva",),
    "kaz": ("Arab", "Latn"),
    "khk": ("Mong",),
    "kmr": ("Cyrl",),
    "knc": ("Arab",),
    "min": ("Arab",),
    "ron": ("Cyrl",),
    "san": ("Latn",),
    "snd": ("Deva",),
    "srp": ("Latn",),
    "taq": ("Tfng",),
    "tat": ("Latn",),
    "tgk": ("Latn",),
    "tuk": ("Cyrl",),
    "uig": ("Cyrl", "Latn"),
    "uzn": ("Cyrl",),
    "wuu": ("Hant",),
    "yue": ("Hans",),
    "zho": ("Hant",),
    "zsm": ("Arab",),
}

# ISO 639-1. Where it names a group of languages, the member that FLORES-200 calls by that name.
TWO_LETTERS = _pairs(
    """aa=aar ab=abk af=afr ak=aka am=amh an=arg ar=arb as=asm av=ava ay=ayr az=azj ba=bak be=bel bg=bul bi=bis bm=bam
    bn=ben bo=bod br=bre bs=bos ca=cat ce=che ch=cha co=cos cr=cre cs=ces cu=chu cv=chv cy=cym da=dan de=deu dv=div
    dz=dzo ee=ewe el=ell en=eng eo=epo es=spa et=est eu=eus fa=pes ff=fuv fi=fin fj=fij fo=fao fr=fra fy=fry ga=gle
    gd=gla gl=glg gn=grn gu=guj gv=glv ha=hau he=heb hi=hin ho=hmo hr=hrv ht=hat hu=hun hy=hye hz=her ia=ina id=ind
    ie=ile ig=ibo ii=iii ik=ipk io=ido is=isl it=ita iu=iku ja=jpn jv=jav ka=kat kg=kon ki=kik kj=kua kk=kaz kl=kal
    km=khm kn=kan ko=kor kr=knc ks=kas ku=kmr kv=kpv kw=cor ky=kir la=lat lb=ltz lg=lug li=lim ln=lin lo=lao lt=lit
    lu=lub lv=lvs mg=plt mh=mah mi=mri mk=mkd ml=mal mn=khk mr=mar ms=zsm mt=mlt my=mya na=nau nb=nob nd=nde ne=npi
    ng=ndo nl=nld nn=nno nr=nbl nv=nav ny=nya oc=oci oj=oji om=gaz or=ory os=oss pa=pan pi=pli pl=pol ps=pbt pt=por
    qu=quy rm=roh rn=run ro=ron ru=rus rw=kin sa=san sc=srd sd=snd se=sme sg=sag sh=hbs si=sin sk=slk sl=slv sm=smo
    sn=sna so=som sq=als sr=srp ss=ssw st=sot su=sun sv=swe sw=swh ta=tam te=tel tg=tgk th=tha ti=tir tk=tuk tl=tgl
    tn=tsn to=ton tr=tur ts=tso tt=tat tw=twi ty=tah ug=uig uk=ukr ur=urd uz=uzn ve=ven vi=vie vo=vol wa=wln wo=wol
    xh=xho yi=ydd yo=yor za=zha zh=zho zu=zul"""
)

# Other spellings of the same: groups of languages (ISO 639-3 macrolanguages), the bibliographic codes of ISO 639-2,
# names of standard varieties in GlotLID and OpenLID, and two-letter codes that were withdrawn or that name a group.
ALIASES = _pairs(
    """ara=arb aym=ayr aze=azj cmn=zho din=dik ekk=est fas=pes fil=tgl ful=fuv gug=grn kau=knc kom=kpv kur=kmr lav=lvs
    mlg=plt mon=khk msa=zsm nep=npi nor=nob ori=ory orm=gaz pus=pbt que=quy sqi=als swa=swh uzb=uzn yid=ydd
    alb=als arm=hye baq=eus bur=mya chi=zho cze=ces dut=nld fre=fra geo=kat ger=deu gre=ell ice=isl mac=mkd mao=mri
    may=zsm per=pes rum=ron slo=slk tib=bod wel=cym
    bh=bho in=ind iw=heb ji=ydd jw=jav mo=ron no=nob"""
)

# Labels of lid.176 that are codes of Wikipedias rather than ISO 639: als is Alemannic there and Tosk Albanian in
# ISO 639-3; eml and nah name groups, of which the member that was first is taken: Emilian, Classical Nahuatl.
WIKIPEDIA_CODES = {"als": "gsw", "eml": "egl", "nah": "nci"}

# Common characters that the reform of 1956 respelled, save those whose new spelling is also an old one (后, 里).
SIMPLIFIED = (
    "们这个来说时会国对发过为么还当开现经学业东长门问间见车马鸟鱼龙风飞语话请让认识读书写画电脑网络机场厂"
    "广义务动员产应该总统区华爱亲头买卖卫术将军队战争单双难题实际从众体观觉变数点热无钱银铁铜万与专两严丧"
    "临丽举乐习乡亚亿仅仪价优伟传伤伦伪余侧侨债倾偿储兰关兴养兽内决况净减凤击刘则刚创删别剧劝办励劲势匀医"
    "协卢厅历厉压厌参叶号叹吓吗听启吴呜响哑团园围图圆圣块坚坛坝坟坠垄垒声处备复够夹夺奋奖妆妇妈娱婴宁宝审"
    "宪宫宽宾寻导寿尔尘尝层属岁岂岗岛岭币帅师帐带帮幂庆库庙废异弃张弯弹强录彻径忆忧怀态怜恋恶悬惊惧惯愤愿"
)
TRADITIONAL = (
    "們這個來說時會國對發過為麼還當開現經學業東長門問間見車馬鳥魚龍風飛語話請讓認識讀書寫畫電腦網絡機場廠"
    "廣義務動員產應該總統區華愛親頭買賣衛術將軍隊戰爭單雙難題實際從眾體觀覺變數點熱無錢銀鐵銅萬與專兩嚴喪"
    "臨麗舉樂習鄉亞億僅儀價優偉傳傷倫偽餘側僑債傾償儲蘭關興養獸內決況淨減鳳擊劉則剛創刪別劇勸辦勵勁勢勻醫"
    "協盧廳歷厲壓厭參葉號嘆嚇嗎聽啟吳嗚響啞團園圍圖圓聖塊堅壇壩墳墜壟壘聲處備復夠夾奪奮獎妝婦媽娛嬰寧寶審"
    "憲宮寬賓尋導壽爾塵嘗層屬歲豈崗島嶺幣帥師帳帶幫冪慶庫廟廢異棄張彎彈強錄徹徑憶憂懷態憐戀惡懸驚懼慣憤願"
)
