"""Filter of captions that are boilerplate: file names, button labels, identifiers."""

import re
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from curate.stage import Filter

#: Phrases that pages and programs write in place of a caption, longer before shorter.
_PHRASES = (
    r"image may (?:be subject to copyright|contain:?)",
    r"(?:may be )?(?:an )?image of(?= *$)",
    r"(?:click|tap|touch|press) (?:here|on (?:the )?(?:image|picture|photo)|(?:image |photo |picture )?to (?:enlarge|zoom|view|expand|open|play)(?: in)?)",
    r"(?:related|similar) (?:image|picture|photo)s?",
    r"(?:image|search) results?(?: for .*)?",
    r"(?:open|opens|view)(?: image)? in (?:a )?new (?:window|tab)",
    r"(?:print|share|e-?mail|save|like|pin|bookmark|report) (?:this|it)(?: page| post| article| image| photo)?",
    r"(?:facebook|twitter|instagram|youtube|linkedin|pinterest|whatsapp|rss|e-?mail|search|menu|close|play|home|cart|phone|location|user|social media)"
    r"(?: feed| share)? (?:icon|logo|button|link)s?",
    r"(?:back|scroll|return) to top",
    r"(?:close|menu|search|submit|ad|ads|next|skip|share|cancel)(?= *$)",
    r"(?:click )?(?:here )?for (?:a )?(?:larger|bigger|full(?: size)?) (?:version|view|image|picture)"
    r"(?: of this (?:image|picture|photo))?",
    r"(?:view|open|see) (?:full size|larger|original|image|gallery|more|details)",
    r"(?:free )?download(?: free)?(?: (?:stock )?(?:image|photo|vector|png|svg|wallpaper)s?)?",
    r"(?:(?:royalty[- ]free|free|hd) *)?stock (?:image|photo|picture|vector|illustration|footage)s?(?: free download)?",
    r"(?:all )?rights reserved",
    r"copyright(?: ©)?(?: \d{4})?",
    r"read more",
    r"learn more",
    r"show more",
    r"load(?:ing|er)(?: image| gif)?",
    r"please wait",
    r"(?:no|missing|default|placeholder) (?:caption|image|photo|picture|description|title|alt)(?: available)?",
    r"(?:alt|alternative) text",
    r"image not (?:found|available)",
    r"not available",
    r"add to cart",
    r"buy now",
    r"sign (?:in|up)",
    r"log ?in",
    r"share on (?:facebook|twitter|pinterest|whatsapp)",
    r"follow us(?: on \w+)?",
    r"tweet",
    r"subscribe",
    r"(?:photo|image|picture|foto)(?:graph)?(?:ed)? (?:by|credit|courtesy(?: of)?|source|via)\b.*",
    r"photographed (?:on|in) .*",
    r"(?:uploaded|posted) (?:on|by) .*",
    r"(?:(?:home ?page|site|company|brand|header|footer|main|our|mobile) *)?logo(?:type)?",
    r"(?:(?:user|profile) *)?(?:avatar|picture|photo|image)s?(?: \d+)?",
    r"(?:photo|image|picture) (?:gallery|preview|thumbnail)",
    r"(?:featured|hero|cover|header|background|main|product|banner|post|article|preview) (?:image|photo|picture)",
    r"untitled(?: \d+)?",
    r"thumbnails?",
    r"thumb(?: \d+)?",
    r"(?:(?:ad|top|web) *)?banner(?: ad)?",
    r"advert(?:isement|ising)?",
    r"sponsored",
    r"icons?",
    r"spacer",
    r"placeholder",
    r"blank",
    r"pixel",
    r"bullet",
    r"arrow(?: (?:left|right|up|down))?(?= *$)",
    r"(?:next|previous|prev)(?= *$)",
    r"slide(?: \d+)",
    r"fig(?:ure|\.)? *\d+(?= *$)",
    r"screen ?shot(?: (?:from|at))?(?: \d[\d .:-]*(?:at \d[\d .:-]*)?)?",
    r"screen ?capture",
    r"\[object object\]",
    r"null|undefined|none|nan|n/a|lorem ipsum.*",
    r"img|pic|foto|jpe?g|png|gif|svg|webp",
)
#: The same in Chinese, which has no spaces.
_CHINESE = (
    r"(?:点击|點擊|轻触|按此)(?:此处|这里|這裡|图片|圖片|查看|看)*(?:原|大|高清)?(?:图|圖|图片|圖片|放大|查看|下载|下載|进入|進入)+(?:大图|大圖|原图)?",
    r"(?:图片|圖片|正在|页面|頁面)*(?:加载|加載|載入|读取)(?:中|失败|失敗|更多)?[.…]*",
    r"(?:返回|回到)(?:顶部|頂部|首页|首頁|列表|上一页|上一頁)|上一页|下一页|上一頁|下一頁|上一张|下一张",
    r"(?:微信|扫码|掃碼|扫一扫|掃一掃|长按|識別|识别|关注|關注)*(?:二维码|二維碼)(?:图片|圖片)?|扫一扫|掃一掃",
    r"(?:欢迎|歡迎|扫码|请|長按)*(?:关注|關注)(?:(?:我们|我們)?的?(?:微信|官方)*(?:公众号|公眾號|公众平台|微博)(?:[:：]?\w{0,20})?|(?:我们|我們)?)(?=[\s!！。]*$)",
    r"(?:微信图片|微信圖片|微信截图|QQ图片|QQ截图|屏幕截图|螢幕截圖|截图|截圖|新建图片|新增圖片|图像|下载|未命名|未标题|未標題|无标题|無標題|图片)[_ \-]*\d*(?=\W*$)",
    r"(?:图|圖|图片|圖片|附图|附圖|配图|配圖)[ _\-:：]*(?:\d+|[一二三四五六七八九十]+)(?:[.:：](?=\W*$))?(?!\w)",
    r"(?:图片|圖片|图源|图片来源|圖片來源|来源|來源|摄影|攝影|图)[/:：].*",
    r"(?:查看|阅读|閱讀|显示|展开|更多|了解)(?:更多|全文|原文|详情|詳情|原图|大图)+|分享到.*|(?:暂无|暫無|没有)(?:图片|圖片|描述|简介)",
    r"(?:版权|版權)(?:所有|归.*所有)|(?:加入|放入)(?:购物车|購物車)|立即(?:购买|購買|下载|注册)|(?:登录|登錄|登入|注册|註冊)(?=\W*$)",
    r"(?:网站|網站|公司|品牌)?(?:logo|标志|標誌|图标|圖標)(?=\W*$)|缩略图|縮略圖|广告(?=\W*$)|廣告(?=\W*$)|默认图片|占位图|封面图|头像(?=\W*$)",
)
#: File names, cameras' names of pictures, addresses, identifiers, sizes, dates.
_MACHINE = (
    r"(?:https?://|www\.)\S+",
    r"[\w()\[\]%+~@ .-]*?[\w)\]]\.(?:jpe?g|jfif|png|gif|webp|svg|bmp|tiff?|avif|heic|psd|pdf|php|html?|mp4)\b",
    r"\b(?:img|image|dsc[nf]?|dscf|pict?|photo|mvimg|vid|pano|screenshot|scan|p|wp|fb_img|received|pxl|gopr?|gx|dji|attachment|wp-image|asset|file|unnamed)[ _-]?\d{3,}[\w-]*",
    r"\b[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}\b",
    r"\b(?=[0-9a-f]*\d)[0-9a-f]{12,}\b",
    r"\b\d{2,5} ?[x×] ?\d{2,5}(?: ?px)?\b",
    r"\b\d{4}[-/.]\d{1,2}[-/.]\d{1,2}\b",
    r"\b\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}\b",
    r"#?\b\d+(?:[_ ]\d+)*\b",
)
PATTERN = re.compile("|".join((*_CHINESE, *_MACHINE, *(rf"(?<![\w'-])(?:{p})(?![\w'-])" for p in _PHRASES))), re.IGNORECASE)
_WORDLIKE = re.compile(r"\w")


def _loose(pattern: str) -> str:
    """The pattern without what Arrow's regular expressions (RE2) lack: matches all that the pattern matches, and more."""
    bare = re.sub(r"\(\?(?:<!|!|=)(?:\[[^\]]*\]|[^)])*\)|\\b", "", pattern.replace("(?= *$)", r" *\n?$"))
    classes = re.sub(r"\[[^\]]*\]", lambda m: m[0].replace(r"\w", _WORD), bare)
    return classes.replace(r"\w", f"[{_WORD}]").replace(r"\d", r"\p{Nd}").replace(r"\S", ".")


#: Python's \w.
_WORD = r"\pL\pN_"
#: Nine captions in ten have nothing of this, and Arrow sees it thirty times as fast as Python's pattern, which then looks at the rest.
#: İ and ı are an i to Python only.
_MAYBE = "(?is)" + "|".join(
    (r"[İı]|\p{Han}", *map(_loose, _MACHINE), rf"(?:^|[^{_WORD}'-])(?:{'|'.join(map(_loose, _PHRASES))})(?:$|[^{_WORD}'-])")
)
#: Characters that are searched: longer texts are not generated alt texts.
LENGTH = 1000


@dataclass
class BoilerplateText(Filter):
    """Share of the caption's letters and digits that are boilerplate, 0 to 1: file names ("IMG_2031.JPG"), addresses,
    sizes, dates, and phrases such as "click here", "image", "stock photo", "photographed on ...". No letters or digits at
    all: 1.

    DALL-E (2102.12092) drops captions that are mostly boilerplate. Phrases are English and Chinese.
    """

    reads = ("text",)
    unit = "0 to 1"
    max: float | None = 0.5
    version = 4

    def score(self, live: pa.Table) -> list:
        maybe = pc.match_substring_regex(pc.utf8_slice_codeunits(live["text"], 0, LENGTH), _MAYBE).to_pylist()
        return [None if t is None else boilerplate(t) if m else nothing(t) for t, m in zip(live["text"].to_pylist(), maybe)]


def nothing(text: str) -> float:
    """The score of a text without boilerplate."""
    return 0.0 if _WORDLIKE.search(text, 0, LENGTH) else 1.0


def boilerplate(text: str) -> float:
    text = text[:LENGTH]
    rest = len(_WORDLIKE.findall(PATTERN.sub(" ", text)))
    total = len(_WORDLIKE.findall(text))
    return 1 - rest / total if total else 1.0
