"""Function words of the languages that the stop-word rules can judge: articles, pronouns, prepositions, auxiliaries.

English is the list of OBELICS' release (obelics/utils/filtering_utils.py, Apache 2.0), for which its bounds hold; the
others are shorter lists made here.
"""

_LISTS = {
    "en": (
        "a a.k.a aboard about above abt accord according across after against ago aground ahead aka ala albeit all "
        "along alongside although am amid amidst among amongst amoung an and and/or another any any1 anybody anyone "
        "anything are around as aside astride at atop away b b/c b/t back base based bc be because been before behind "
        "being below beneath beside besides between beyond board both btwn but by can cause circa cos could coz cus "
        "depend depending despite did do does down due during each either else even ever every everybody everyone "
        "everything except for forth from get gets getting give given got had half has hav have having he her hers "
        "herself him himself his how however i i'd if in include including inside instead into is it it's its itself "
        "lest like made many may me might mine minus most much must my myself nary near nearby neither next nigh no "
        "nobody none noone nor not nothing notwithstanding of off on onboard once one ones oneself only onto opposite "
        "or other others ought our ours ourselves out outside over overt own past per plus prior quite rather re regard "
        "regarding regardless round s/he save self shall she should side since so some somebody someone something such "
        "sure teh than thanks that the their theirs them themselves then there these they they're thier this tho those "
        "thou though through throughout thru thy til till to together too toward towards u under underneath unless "
        "unlike until unto up upon ur us use versus via vs vs. w/ w/o w/out was we were what whatever whatnot when "
        "whenever where whereas wherever whether which while whilst whither who who's whoever whom whomever whose why "
        "will with within without wo worth would wud y'all ya yet yo you you're your youre yours yourself yourselves"
    ),
    "de": (
        "aber alle als also am an auch auf aus bei bin bis da damit dann das dass dem den der des die dies diese dieser "
        "dieses doch du durch ein eine einem einen einer eines er es für haben hat hier ich ihr im in ist ja kann kein "
        "mit nach nicht noch nur oder sein sich sie sind so um und uns unter vom von vor war was wenn wer werden wie "
        "wir wird wurde zu zum zur über"
    ),
    "fr": (
        "a ai au aux avec ce ces cette comme dans de des du elle elles en est et eux il ils je la le les leur leurs lui "
        "mais me même mes moi mon ne nos notre nous on ont ou où par pas plus pour qu que qui sa se sera ses si son "
        "sont sur ta te tu un une vos votre vous y à été être"
    ),
    "es": (
        "a al algo como con de del desde donde el ella ellos en entre era es esa ese esta este está fue ha hasta hay la "
        "las le les lo los más me mi muy no nos o para pero por porque que qué se ser si sin sobre son su sus también "
        "te tiene un una uno y ya yo"
    ),
    "it": (
        "a ad al alla alle anche che chi ci come con da dal dalla dei del della delle di dove e ed era gli ha hanno i "
        "il in io la le lo loro ma mi nei nel nella non o per perché più quando quella questa questo se si sia sono su "
        "sua sul suo tra un una uno è"
    ),
    "pt": (
        "a ao aos as até com como da das de do dos e ela ele em entre era essa esse esta este eu foi há isso já mais "
        "mas me muito na não nas no nos o os ou para pela pelo por quando que quem se sem ser seu sua são também te tem "
        "um uma você à é"
    ),
    "nl": (
        "aan al als bij dan dat de der deze die dit door een en er haar had heb heeft het hij hoe ik in is je kan maar "
        "me meer met mij na naar niet nog of om onder ook op over te toen tot u uit van veel voor was wat we wel werd "
        "wie wij worden zal ze zich zij zijn zo"
    ),
    "ru": (
        "а без бы был была были было быть в вас во вот все вы где да для до его ее если есть еще же за и из или им их к "
        "как ко когда кто ли мне может мы на не него нет но о об он она они от по под при с сам себя со так также то "
        "только тот у уже чем что это этот я"
    ),
    "pl": (
        "a aby ale albo bez był była było być co czy dla do gdy gdzie go i ich in ja jak jako jest jego jej już kiedy "
        "które który ma może na nad nie o od oraz po pod przez przy się są ta tak także tego ten to tu tylko tym w we "
        "więc z za ze że"
    ),
    "sv": (
        "alla att av bara blir både de dem den denna det detta dig din du där efter ej eller en ett från för ha han "
        "hans har hon hur här i icke inte jag kan man med men mig min mycket ni nu när och om oss på sedan sig sin som "
        "så till under upp ut var vi vid vill åt är över"
    ),
}

#: By the two-letter code of the language.
STOP_WORDS = {language: frozenset(listed.split()) for language, listed in _LISTS.items()}

#: The languages in which a word is a stop word.
LANGUAGES_OF = {
    word: tuple(language for language, listed in STOP_WORDS.items() if word in listed)
    for word in frozenset().union(*STOP_WORDS.values())
}
