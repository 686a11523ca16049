"""Function words of the languages that the stop-word rules can judge: articles, pronouns, prepositions, auxiliaries."""

_LISTS = {
    "en": (
        "a about after all also am an and any are as at be because been before being but by can could did do does for "
        "from had has have he her here him his how i if in into is it its just may me more most my no nor not now of "
        "off on one only or other our out over she should so some such than that the their them then there these they "
        "this those through to too under up us very was we were what when where which while who whom why will with "
        "would you your"
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
